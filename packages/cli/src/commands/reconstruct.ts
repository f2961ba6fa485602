import { heightAndWidth } from "@aligntok/core";
import { Command, Option } from "commander";
import { createPngFolder } from "../png-folder.ts";
import { formatFigure } from "../progress-printer.ts";
import { defineAction, type Session, wholeNumber } from "../session.ts";
import { openTokenizerOption, tileOption, tokenizerOption } from "../tokenizer-option.ts";

interface ReconstructOptions {
  readonly tokenizer: string;
  readonly tile?: number;
  readonly images: readonly string[];
  readonly size?: number;
  readonly batch: number;
  readonly metrics?: true;
  readonly out: string;
}

export function reconstructCommand(): Command {
  const command = new Command("reconstruct")
    .summary("images through a tokenizer and back")
    .description(
      "Encodes and decodes images with a tokenizer and writes what comes back as PNG files.",
    )
    .addOption(tokenizerOption())
    .requiredOption("--images <paths...>", "folder (sub-folders are kept), glob, tar shards, files")
    .requiredOption("--out <folder>", "where the PNG files go, under the names of the images")
    .addOption(
      new Option(
        "--size <pixels>",
        "short side and centre crop, bicubic as Pillow does it (default: the size it was trained on, or 256)",
      ).argParser(wholeNumber(1)),
    )
    .addOption(tileOption())
    .option("--metrics", "compare with the originals: PSNR and SSIM")
    .addOption(new Option("--batch <n>", "images at a time").argParser(wholeNumber(1)).default(8))
    .addHelpText(
      "after",
      `
Examples:
  aligntok reconstruct --tokenizer runs/quickstart/tokenizer --images photos --out reconstructed
  aligntok reconstruct --tokenizer vavae-imagenet256-f16d32-dinov2.pt --images 'val-{00..49}.tar' --out out --metrics`,
    );
  return defineAction(command, reconstruct);
}

async function reconstruct(options: ReconstructOptions, session: Session): Promise<void> {
  const { signal, onProgress, answer } = session;
  const [{ createImageSource, openImages }, { computePsnr, computeSsim }] = await Promise.all([
    import("@aligntok/data-laion"),
    import("@aligntok/eval-fid"),
  ]);
  const dataset = await openImages(options.images);
  const tokenizer = await openTokenizerOption(options, session);
  const size = options.size ?? tokenizer.imageSize;
  const source = createImageSource(dataset, { batchSize: options.batch, size, shuffle: false });
  const folder = createPngFolder(options.out);
  const scores = { psnr: [] as number[], ssim: [] as number[] };

  let done = 0;
  try {
    for await (const { images, keys } of source.batches({ signal })) {
      const decoded = await tokenizer.decode(await tokenizer.encode(images));
      if (options.metrics) {
        scores.psnr.push(...computePsnr(images, decoded).values);
        scores.ssim.push(...computeSsim(images, decoded).values);
      }
      await folder.write(decoded, keys);
      done += keys.length;
      onProgress({ task: "reconstructing", done, total: dataset.length });
    }
  } finally {
    tokenizer.dispose();
  }
  const metrics = options.metrics && { psnr: mean(scores.psnr), ssim: mean(scores.ssim) };
  answer(
    [
      `${options.out}: ${done} images of ${heightAndWidth(size).join("x")} px`,
      ...(metrics
        ? [`PSNR ${formatFigure(metrics.psnr)} dB, SSIM ${formatFigure(metrics.ssim)}`]
        : []),
    ],
    { out: options.out, images: done, size, ...metrics },
  );
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
