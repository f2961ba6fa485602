"""Golden token ids of @aligntok/encoders/text, from transformers and SentencePiece.

    python tools/golden/encoders-tokenizers.py ../shared/data packages/encoders/test/fixtures
    (transformers 5.18, tokenizers, sentencepiece)

`tokenizers/ids.json.gz`: texts with their ids by CLIP's real vocabulary (CLIPTokenizer) and by two real SentencePiece
models (SentencePiece itself). `tokenizers/clip`, `tokenizers/t5` and `tokenizers/t5-fast`: tiny vocabularies learned from
prompts here, as folders, with `ids.json`; `t5` has a character map, byte fallback and user-defined symbols, and its ids
are SentencePiece's; `t5-fast` is what T5Tokenizer of transformers makes of that file, with its own ids.
"""
import csv
import gzip
import json
import pathlib
import random
import sys
import unicodedata

import sentencepiece
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers.models.clip.tokenization_clip import CLIPTokenizer
from transformers.models.t5.tokenization_t5 import T5Tokenizer

data, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]) / "tokenizers"
out.mkdir(exist_ok=True)

with open(data / "prompts/PartiPrompts.tsv") as file:
    prompts = [row["Prompt"] for row in csv.DictReader(file, delimiter="\t")]
captions = [line for path in sorted((data / "coco-captions-256").glob("*.txt")) for line in path.read_text().split("\n")]

NASTY = [
    "", " ", "   ", "\t\n", "\u3000", "\u00a0\u00a0", "\ufeff", "\u200b", " leading", "trailing ", "a  b   c", "a\tb\nc\r\nd",
    "Hello, World!", "ΣΊΣΥΦΟΣ ΟΔΟΣ", "İstanbul ı I \u0130\u0307", "ﬁne ﬂower ½ ² ℃ ™", "Ｆｕｌｌ　ｗｉｄｔｈ ～ ｶﾞ １２３",
    "e\u0301cole cafe\u0301 a\u030a\u0323", "a\u0300\u0301\u0302\u0303 many", "\u0300 lone mark", "中文字符 日本語テキスト 한국어",
    "👩‍👩‍👧‍👦 family 🏳️‍🌈 🇫🇷 👍🏽 1️⃣", "zero\u200bwidth\u200cjoin\u200der\ufeffbom", "soft\u00adhyphen nb\u00a0space \u2009thin",
    "ctrl\u0001\u0007\u001f\u007f\u0080\u0085\u009f end", "nul\u0000byte", "\u2028line\u2029para", "rtl \u202eabc\u202c عربي עברית",
    "don't can't I'LL you've 'S 's", "x's'd 'tis ''' '", "123 4567 ٣٤٥ Ⅷ ①", "<|endoftext|> in text", "a<|startoftext|>b <|ENDOFTEXT|>",
    "▁under▁ ▁ ▁▁ score", "_____ ----- ......", "&amp; &lt;b&gt; &quot;", "http://example.com/?q=a&b=c#d", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝒎𝒂𝒕𝒉",
    "naïve Straße ŒUVRE Ǆ ǅ ß ẞ ŉ", "ﷺ ﷽", "が か\u3099", "क्षि தமிழ் ไทย", "\ufffd replacement", "\ue000 private", "Å Å A\u030a Ω Ω",
    "…—–‘’“”", "$1,000.00 50% #tag @user", "A" * 300, "word " * 120, "\u1100\u1161\u11a8 jamo", "!\u0085!", "!\ufeff!\u180e!",
    "⑴ ㈱ ㍿ ㌀", "\u2581", " \u2581 a", "豈 﨑 שּׁ", "\U0010ffff", "x\u0640y \u034f \u115f \uffa0 \U000e0041", "日本。、「」",
]
SPECIAL = ["<pad></s><unk> <extra_id_0> x<extra_id_9>y", "</s>"]

# mixtures of what every version of Unicode since 9 has
rng = random.Random(5)
POOLS = [(0x20, 0x7F), (0xA0, 0x250), (0x250, 0x530), (0x590, 0x700), (0x900, 0xE00), (0x1E00, 0x2100), (0x2100, 0x2C00),
         (0x3000, 0x3400), (0x4E00, 0x5200), (0xAC00, 0xB000), (0xF900, 0x10000), (0x1D400, 0x1D800), (0, 0x20), (0x2000, 0x2070)]


def character():
    while True:
        code = chr(rng.randrange(*rng.choice(POOLS)))
        if unicodedata.ucd_3_2_0.category(code) != "Cn":
            return code


MIXED = ["".join(character() + rng.choice(["", "", "", " ", "a", "the "]) for _ in range(rng.randint(1, 14))) for _ in range(120)]
texts = prompts[::8] + captions[::3] + NASTY + MIXED


def byte_characters():
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(others))]


def clip_tokenizer(merges):
    single = byte_characters()
    tokens = single + [byte + "</w>" for byte in single] + ["".join(pair) for pair in merges] + ["<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={token: i for i, token in enumerate(tokens)}, merges=merges)


lines = gzip.open(data / "text/bpe_simple_vocab_16e6.txt.gz").read().decode().split("\n")
real = {"texts": texts, "clip": clip_tokenizer([tuple(line.split()) for line in lines[1 : 49152 - 256 - 2 + 1]])(texts)["input_ids"]}
for name in ("test_sentencepiece", "albert_spiece"):
    real[name] = sentencepiece.SentencePieceProcessor(model_file=str(data / f"text/{name}.model")).encode(texts)
with open(out / "ids.json.gz", "wb") as file:
    file.write(gzip.compress(json.dumps(real, separators=(",", ":")).encode(), mtime=0))

few = prompts[3::60] + NASTY + MIXED[:40] + SPECIAL


def write(name, texts, ids):
    (out / name).mkdir(exist_ok=True)
    (out / name / "ids.json").write_text(json.dumps({"texts": texts, "ids": ids}, separators=(",", ":")))


# CLIP: merges of a byte-level trainer, whose words end in </w>
trainer = trainers.BpeTrainer(vocab_size=800, end_of_word_suffix="</w>", initial_alphabet=byte_characters(), show_progress=False)
bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
bpe.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=False)])
bpe.train_from_iterator([prompt.lower() for prompt in prompts], trainer)
merges = [tuple(pair) for pair in json.loads(bpe.to_str())["model"]["merges"]]
tiny = clip_tokenizer(merges)
write("clip", few, tiny(few)["input_ids"])
tiny.save_pretrained(out / "clip")
vocab = json.loads((out / "clip/tokenizer.json").read_text())["model"]["vocab"]
(out / "clip-files").mkdir(exist_ok=True)
(out / "clip-files/vocab.json").write_text(json.dumps(vocab, separators=(",", ":"), ensure_ascii=False))
(out / "clip-files/merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(pair) for pair in merges) + "\n")

# T5: Latin letters with marks and full width to plain ones, several spaces to one
rules = {(0x3000,): (0x20,), (0xA0,): (0x20,), (0x9,): (0x20,), (0xFB01,): (0x66, 0x69)}
for code in (*range(0xC0, 0x250), *range(0xFF01, 0xFF5F)):
    plain = unicodedata.normalize("NFKC", chr(code))
    rules[(code,)] = tuple(map(ord, plain))
    marked = unicodedata.normalize("NFD", chr(code))
    if len(marked) > 1 and len(plain) == 1:
        rules[tuple(map(ord, marked))] = tuple(map(ord, plain))
(out / "rules.tsv").write_text("".join(
    " ".join(f"{c:X}" for c in source) + "\t" + " ".join(f"{c:X}" for c in target) + "\n" for source, target in rules.items() if source != target))
for name, bytes_too in (("t5", True), ("t5-fast", False)):
    (out / name).mkdir(exist_ok=True)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(prompts), model_prefix=str(out / name / "spiece"), vocab_size=700 if bytes_too else 450, pad_id=0, eos_id=1,
        unk_id=2, bos_id=-1, byte_fallback=bytes_too, user_defined_symbols=["--", "''"] if bytes_too else [],
        normalization_rule_tsv=str(out / "rules.tsv"), model_type="unigram", minloglevel=2)
    (out / name / "spiece.vocab").unlink()
(out / "rules.tsv").unlink()
exact = sentencepiece.SentencePieceProcessor(model_file=str(out / "t5/spiece.model"))
write("t5", few[: -len(SPECIAL)], [ids + [1] for ids in exact.encode(few[: -len(SPECIAL)])])
fast = T5Tokenizer.from_pretrained(out / "t5-fast", extra_ids=10)
write("t5-fast", few, fast(few)["input_ids"])
fast.save_pretrained(out / "t5-fast")
