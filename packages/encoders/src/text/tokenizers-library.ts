/** The parts of `@huggingface/tokenizers` 0.2 that are used here, whose own declarations resolve under bundlers only. */
import * as library from "@huggingface/tokenizers";

export interface Normalizer {
  (text: string): string;
  normalize(text: string): string;
}

export interface PreTokenizer {
  pre_tokenize_text(text: string): string[];
  /** Of ByteLevel. */
  pattern?: RegExp;
}

export interface Model {
  tokens_to_ids: Map<string, number>;
  unk_token_id?: number;
  encode(texts: string[]): string[];
}

export interface Tokenizer {
  normalizer: Normalizer | null;
  pre_tokenizer: PreTokenizer | null;
  model: Model;
  readonly post_processor: {
    post_process(tokens: string[], pair: null, special: boolean): { readonly tokens: string[] };
  } | null;
  encode(text: string): { readonly ids: (number | undefined)[] };
  get_added_tokens_decoder(): ReadonlyMap<number, { readonly content: string }>;
  token_to_id(token: string): number | undefined;
}

interface Library {
  readonly Tokenizer: new (json: object, config: object) => Tokenizer;
  readonly BPE: new (json: object) => Model;
  readonly SequenceNormalizer: new (json: {
    readonly normalizers: readonly object[];
  }) => Normalizer;
  readonly SequencePreTokenizer: new (json: {
    readonly pretokenizers: readonly object[];
  }) => PreTokenizer & { tokenizers: (PreTokenizer | null)[] };
}

export const { Tokenizer, BPE, SequenceNormalizer, SequencePreTokenizer } =
  library as unknown as Library;
