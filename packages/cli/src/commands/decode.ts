import { check } from "@aligntok/core";
import { Command, Option } from "commander";
import { createPngFolder } from "../png-folder.ts";
import { openRowFile } from "../row-file.ts";
import { defineAction, type Session, wholeNumber } from "../session.ts";
import { openTokenizerOption, tileOption, tokenizerOption } from "../tokenizer-option.ts";

interface DecodeOptions {
  readonly tokenizer: string;
  readonly tile?: number;
  readonly latents: string;
  readonly batch: number;
  readonly out: string;
}

export function decodeCommand(): Command {
  const command = new Command("decode")
    .summary("latents of a tokenizer back to images")
    .description("Decodes latents with a tokenizer and writes PNG files.")
    .addOption(tokenizerOption())
    .requiredOption(
      "--latents <path>",
      "F.safetensors of encode, or a folder of LightningDiT's shards; not normalised",
    )
    .requiredOption("--out <folder>", "where the PNG files go, under the names of the images")
    .addOption(tileOption())
    .addOption(new Option("--batch <n>", "images at a time").argParser(wholeNumber(1)).default(8))
    .addHelpText(
      "after",
      `
Files without names give 000000.png, 000001.png, ...

Examples:
  aligntok decode --tokenizer runs/quickstart/tokenizer --latents latents.safetensors --out decoded
  aligntok decode --tokenizer T --latents shards --batch 16 --out decoded --json`,
    );
  return defineAction(command, decode);
}

async function decode(options: DecodeOptions, session: Session): Promise<void> {
  const { signal, onProgress, answer } = session;
  const latents = await openRowFile(options.latents);
  const [total = 0] = latents.shape;
  check(
    latents.shape.length === 4,
    () =>
      `${latents.path}: expected latents [N,d,h,w], got rows of shape [${latents.shape.slice(1)}]. make them with aligntok encode`,
  );
  const tokenizer = await openTokenizerOption(options, session);
  const folder = createPngFolder(options.out);
  let done = 0;
  let size: readonly number[] = [];
  try {
    for await (const batch of latents.batches(options.batch)) {
      signal.throwIfAborted();
      const images = await tokenizer.decode(batch);
      const count = images.shape[0]!;
      size = images.shape.slice(1, 3);
      const numbers = Array.from({ length: count }, (_, i) => String(done + i).padStart(6, "0"));
      await folder.write(images, latents.keys?.slice(done, done + count) ?? numbers);
      done += count;
      onProgress({ task: "decoding", done, total });
    }
  } finally {
    tokenizer.dispose();
  }
  const [height, width] = size;
  answer(`${options.out}: ${done} images of ${width} x ${height} px`, {
    ...{ out: options.out, images: done, height, width },
  });
}
