import type { OpenedTokenizer } from "@aligntok/aligntok";
import { check, type Images } from "@aligntok/core";
import { Command, Option } from "commander";
import { cropImages } from "../image-padding.ts";
import { createPngFolder } from "../png-folder.ts";
import { openRowFiles, type RowFile } from "../row-file.ts";
import { defineAction, type Session, wholeNumber } from "../session.ts";
import {
  addTokenizerOptions,
  openTokenizerOption,
  type TokenizerChoice,
} from "../tokenizer-option.ts";

interface DecodeOptions extends TokenizerChoice {
  readonly latents: string;
  readonly out: string;
}

export function decodeCommand(): Command {
  const command = new Command("decode")
    .summary("latents of a tokenizer back to images")
    .description("Decodes latents with a tokenizer and writes PNG files.");
  addTokenizerOptions(command)
    .requiredOption(
      "--latents <path>",
      "file or folder of encode, or a folder of LightningDiT's shards; not normalised",
    )
    .requiredOption("--out <folder>", "where the PNG files go, under the names of the images")
    .addOption(new Option("--batch <n>", "images at a time").argParser(wholeNumber(1)).default(8))
    .addHelpText(
      "after",
      `
Latents of encode are refused by a tokenizer of another model or stride than the one that made them.
Files without names give 000000.png, 000001.png, ...

Examples:
  aligntok decode --tokenizer runs/quickstart/tokenizer --latents latents.safetensors --out decoded
  aligntok decode --tokenizer T --latents shards --batch 16 --out decoded --json`,
    );
  return defineAction(command, decode);
}

async function decode(options: DecodeOptions, session: Session): Promise<void> {
  const { signal, onProgress, answer } = session;
  const files = await openRowFiles(options.latents);
  for (const file of files) checkLatents(file);
  const total = files.reduce((sum, { shape }) => sum + shape[0]!, 0);
  const tokenizer = await openTokenizerOption(options, session);
  const folder = createPngFolder(options.out);
  const sizes = new Set<string>();
  let done = 0;
  try {
    for (const file of files) checkTokenizer(file, tokenizer);
    for (const file of files) {
      let row = 0;
      for await (const batch of file.batches(options.batch)) {
        signal.throwIfAborted();
        const images = cropToImage(await tokenizer.decode(batch), file);
        const [count = 0, height, width] = images.shape;
        sizes.add(`${width} x ${height}`);
        const numbers = Array.from({ length: count }, (_, i) => String(done + i).padStart(6, "0"));
        await folder.write(images, file.keys?.slice(row, row + count) ?? numbers);
        row += count;
        done += count;
        onProgress({ task: "decoding", done, total });
      }
    }
  } finally {
    tokenizer.dispose();
  }
  const [size = "", ...others] = sizes;
  const [width, height] = size.split(" x ").map(Number);
  const isOne = others.length === 0;
  answer(`${options.out}: ${done} images of ${isOne ? `${size} px` : "their own size"}`, {
    ...{ out: options.out, images: done },
    ...(isOne && { height, width }),
  });
}

function checkLatents({ path, shape }: RowFile): void {
  check(
    shape.length === 4,
    () =>
      `${path}: expected latents [N,d,h,w], got rows of shape [${shape.slice(1)}]. make them with aligntok encode`,
  );
}

/** Latents of another tokenizer may have as many channels. */
function checkTokenizer(
  { path, tokenizer: made }: RowFile,
  { model, stride }: OpenedTokenizer,
): void {
  check(
    !made || (made.model === model && made.stride === stride),
    () =>
      `${path}: expected latents of ${model} at stride ${stride}, got those of ${made?.model} at stride ${made?.stride}. give --tokenizer the one that encoded them`,
  );
}

/** Without what the image was padded with before it was encoded. */
function cropToImage(images: Images, { imageSize }: RowFile): Images {
  const [, h = 0, w = 0] = images.shape;
  const [height = h, width = w] = imageSize ?? [];
  return cropImages(images, Math.min(h, height), Math.min(w, width));
}
