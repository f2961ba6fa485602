import { check, type Images, rows } from "@aligntok/core";
import { Command, InvalidArgumentError, Option } from "commander";
import { engineOptions } from "../engine-options.ts";
import { createImageArchive } from "../image-archive.ts";
import { createPngFolder } from "../png-folder.ts";
import { defineAction, realNumber, type Session, wholeNumber, wholeNumbers } from "../session.ts";
import {
  openTokenizerOption,
  type TokenizerChoice,
  tokenizerModelOption,
  tokenizerOption,
} from "../tokenizer-option.ts";

interface SampleCommandOptions extends Omit<TokenizerChoice, "tile"> {
  readonly model: string;
  readonly classes?: readonly number[];
  readonly count: number;
  readonly steps: number;
  readonly cfg: number;
  readonly cfgChannels: number | "all";
  readonly shift: number;
  readonly out: string;
}

/** Where generated images go. */
interface Destination {
  append(images: Images, start: number): Promise<void>;
  finish(labels: Int32Array): Promise<void>;
  discard(): Promise<void>;
}

export function sampleCommand(): Command {
  const command = new Command("sample")
    .summary("images from noise, by a diffusion model and a tokenizer")
    .description(
      "Generates images: a diffusion model makes latents from noise, a tokenizer decodes them.",
    )
    .requiredOption("--model <folder>", "folder with config.json and model.safetensors")
    .addOption(tokenizerOption())
    .addOption(tokenizerModelOption())
    .requiredOption("--out <path>", "a folder for PNG files, or F.npz for ADM's evaluation suite")
    .addOption(
      new Option("--classes <list>", "class indices, taken in turn (default: all)").argParser(
        wholeNumbers,
      ),
    )
    .addOption(new Option("--count <n>", "images in all").argParser(wholeNumber(1)).default(16))
    .addOption(new Option("--steps <n>", "Euler steps").argParser(wholeNumber(1)).default(50))
    .addOption(
      new Option("--cfg <scale>", "guidance scale; 1 is none").argParser(realNumber(0)).default(1),
    )
    .addOption(
      new Option("--cfg-channels <n>", "channels that guidance acts on: the first n, or all")
        .argParser(channelCount)
        .default(3),
    )
    .addOption(
      new Option("--shift <s>", "timestep shift; below 1 takes smaller steps near noise")
        .argParser(realNumber(0, true))
        .default(1),
    )
    .addOption(new Option("--batch <n>", "images at a time").argParser(wholeNumber(1)).default(16))
    .addHelpText(
      "after",
      `
Image i depends on the seed and i alone, whatever the batch size.

Examples:
  aligntok sample --model runs/quickstart/diffusion --tokenizer runs/quickstart/tokenizer --out samples
  aligntok sample --model M --tokenizer T --classes 3 --count 8 --cfg 4 --cfg-channels all --out samples
  aligntok sample --model M --tokenizer T --count 50000 --steps 249 --shift 0.3 --cfg 6.7 --out samples.npz`,
    );
  return defineAction(command, sample);
}

async function sample(options: SampleCommandOptions, session: Session): Promise<void> {
  const { signal, seed, onProgress, answer } = session;
  const { createDenoiser, denormalizeLatents, loadDiffusion, sampleLatents } = await import(
    "@aligntok/diffusion"
  );
  const model = await loadDiffusion(options.model);
  const { inputSize, inChannels, classes: classCount } = model.config;
  const classes = options.classes ?? Array.from({ length: classCount }, (_, i) => i);
  check(
    classes.every((index) => index < classCount),
    () =>
      `--classes: expected indices below ${classCount}, got ${options.classes}. see config.json`,
  );
  const labels = Int32Array.from({ length: options.count }, (_, i) => classes[i % classes.length]!);
  const tokenizer = await openTokenizerOption(options, session);
  const stats = model.stats ?? tokenizer.stats;

  const denoiser = createDenoiser(model.config, model.ema ?? model.params, engineOptions(session));
  const latents = await sampleLatents(denoiser, {
    labels,
    latentShape: [inputSize, inputSize, inChannels],
    points: options.steps + 1,
    cfgScale: options.cfg,
    cfgChannels: options.cfgChannels,
    timestepShift: options.shift,
    batchSize: options.batch,
    seed,
    signal,
    onProgress,
  }).finally(() => denoiser.dispose());

  let destination: Destination | undefined;
  try {
    for (let start = 0; start < options.count; start += options.batch) {
      signal.throwIfAborted();
      const part = rows(latents, start, Math.min(options.count, start + options.batch));
      const images = await tokenizer.decode(stats ? denormalizeLatents(part, stats) : part);
      const shape = [options.count, ...images.shape.slice(1)];
      destination ??= options.out.endsWith(".npz")
        ? await createImageArchive(options.out, shape)
        : createImageFolder(options.out);
      await destination.append(images, start);
      onProgress({ task: "decoding", done: start + part.shape[0]!, total: options.count });
    }
    await destination?.finish(labels);
  } finally {
    await destination?.discard();
    tokenizer.dispose();
  }
  const { out, count, steps, cfg } = options;
  answer(`${out}: ${count} images, ${steps} steps, guidance ${cfg}`, {
    out,
    count,
    steps,
    cfg,
    seed,
    classes,
  });
}

/** `000000.png`, `000001.png`, ... */
function createImageFolder(path: string): Destination {
  const folder = createPngFolder(path);
  return {
    async append(images, start) {
      const numbers = Array.from({ length: images.shape[0]! }, (_, i) => start + i);
      await folder.write(
        images,
        numbers.map((n) => String(n).padStart(6, "0")),
      );
    },
    async finish() {},
    async discard() {},
  };
}

function channelCount(text: string): number | "all" {
  if (text === "all") return text;
  if (!/^[1-9]\d*$/.test(text)) throw new InvalidArgumentError("expected a whole number or all.");
  return Number(text);
}
