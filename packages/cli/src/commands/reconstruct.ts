import { Command } from "commander";
import { cropImages, padImages } from "../image-padding.ts";
import { createPngFolder } from "../png-folder.ts";
import { formatFigure } from "../progress-printer.ts";
import { defineAction, type Session } from "../session.ts";
import {
  addImagesOptions,
  describeSize,
  type ImagesChoice,
  openTokenizerImages,
} from "../tokenizer-images.ts";
import {
  addTokenizerOptions,
  openTokenizerOption,
  type TokenizerChoice,
} from "../tokenizer-option.ts";

interface ReconstructOptions extends TokenizerChoice, ImagesChoice {
  readonly metrics?: true;
  readonly out: string;
}

export function reconstructCommand(): Command {
  const command = new Command("reconstruct")
    .summary("images through a tokenizer and back")
    .description(
      "Encodes and decodes images with a tokenizer and writes what comes back as PNG files.",
    );
  addImagesOptions(addTokenizerOptions(command))
    .requiredOption("--out <folder>", "where the PNG files go, under the names of the images")
    .option("--metrics", "compare with the originals: PSNR and SSIM, means over the images")
    .addHelpText(
      "after",
      `
Images of --size own come back in their own size: their last row and column are repeated up to a multiple of the
tokenizer's stride, and cut off again. Those with a side of less than ${ssimSide} px have no SSIM and are counted.

Examples:
  aligntok reconstruct --tokenizer runs/quickstart/tokenizer --images photos --out reconstructed
  aligntok reconstruct --tokenizer taef2 --images photos --size own --max-size 4096 --out reconstructed --metrics
  aligntok reconstruct --tokenizer vavae-imagenet256-f16d32-dinov2.pt --images 'val-{00..49}.tar' --out out --metrics`,
    );
  return defineAction(command, reconstruct);
}

/** Pixels of the window of SSIM, into which an image must fit. */
const ssimSide = 11;

async function reconstruct(options: ReconstructOptions, session: Session): Promise<void> {
  const { signal, onProgress, answer } = session;
  const { computePsnr, computeSsim } = await import("@aligntok/eval-fid");
  const tokenizer = await openTokenizerOption(options, session);
  const folder = createPngFolder(options.out);
  const scores = { psnr: [] as number[], ssim: [] as number[] };
  let [done, small] = [0, 0];
  try {
    const { dataset, size, read } = await openTokenizerImages(options, tokenizer.imageSize);
    const { batches, skipped } = read([], { signal });
    for await (const { images, indices, keys } of batches) {
      const [, height = 0, width = 0] = images.shape;
      const fitted = size === "own" ? padImages(images, tokenizer.stride) : images;
      const latents = await tokenizer.encode(fitted);
      const decoded = cropImages(await tokenizer.decode(latents), height, width);
      if (options.metrics) {
        scores.psnr.push(...computePsnr(images, decoded).values);
        if (Math.min(height, width) < ssimSide) small += keys.length;
        else scores.ssim.push(...computeSsim(images, decoded).values);
      }
      await folder.write(decoded, keys);
      done += keys.length;
      onProgress({ task: "reconstructing", done: indices.at(-1)! + 1, total: dataset.length });
    }
    const { psnr, ssim } = scores;
    const metrics = {
      ...(psnr.length > 0 && { psnr: mean(psnr) }),
      ...(ssim.length > 0 && { ssim: mean(ssim) }),
      ...(small > 0 && { withoutSsim: small }),
    };
    const figures = [
      ...(metrics.psnr === undefined ? [] : [`PSNR ${formatFigure(metrics.psnr)} dB`]),
      ...(metrics.ssim === undefined ? [] : [`SSIM ${formatFigure(metrics.ssim)}`]),
      ...(small ? [`no SSIM of ${small} images with a side of less than ${ssimSide} px`] : []),
    ];
    const left = dataset.length - done;
    answer(
      [
        `${options.out}: ${done} images of ${describeSize(size)}`,
        ...(figures.length > 0 ? [figures.join(", ")] : []),
        ...(left ? [`${left} images left out: ${JSON.stringify(skipped())}`] : []),
      ],
      { out: options.out, images: done, size, skipped: skipped(), ...metrics },
    );
  } finally {
    tokenizer.dispose();
  }
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
