/** report.html of a trained tokenizer. */
import { join } from "node:path";
import { writeFileAtomic } from "@aligntok/checkpoint";
import type { Images, NdArray } from "@aligntok/core";
import { encodePng } from "@aligntok/image";
import { paperStages } from "../report/paper.ts";
import { renderReport } from "../report/report.ts";
import {
  chartStages,
  drawReconstructions,
  type StageView,
  showLatentMaps,
  showReconstructions,
} from "../report/stage-sections.ts";
import type { StageMetrics } from "../run/measure.ts";
import type { Clock } from "../run/run-folder.ts";
import type { Session } from "../session.ts";
import { describeSize } from "../tokenizer-images.ts";
import { installedVersions } from "../version.ts";
import type { TokenizerConfigFile } from "./tokenizer-config.ts";
import type { TokenizerTraining } from "./tokenizer-training.ts";

export interface TokenizerReport {
  readonly out: string;
  readonly name: string;
  readonly training: TokenizerTraining;
  readonly session: Session;
  /** Held-out photographs. */
  readonly shown: Images;
  /** Their patch tokens `(N, T, W)` from the encoder as it was given. */
  readonly features: NdArray<"float32">;
  readonly views: readonly StageView[];
  readonly metrics: readonly (StageMetrics & { readonly stage: string })[];
  readonly clock: Clock;
}

const beginnings: Readonly<Record<TokenizerConfigFile["kind"], string>> = {
  aligntok: "A pretrained encoder was made the tokenizer of a diffusion model",
  vae: "An autoencoder was trained from scratch",
  "va-vae":
    "An autoencoder was trained from scratch, its latents drawn to the features of a frozen encoder,",
};

export async function writeTokenizerReport(input: TokenizerReport): Promise<void> {
  const { out, name, training, shown, views, metrics, clock } = input;
  const { config, images, seed, perceptual } = training;
  const seconds = Object.values(clock.seconds).reduce((sum, s) => sum + s, 0);
  const hero = drawReconstructions(shown, views, 6);
  const last = metrics.at(-1)!;
  const percent = (probe: number | null) =>
    probe === null ? undefined : `${(100 * probe).toFixed(1)} %`;
  const html = renderReport({
    title: `Tokenizer ${name}`,
    subtitle: `${images.train.length} images of ${describeSize(config.data.size)}, encoder ${config.encoder}, seed ${seed}`,
    summary: {
      paragraphs: [
        `${beginnings[config.kind]} in ${metrics.length} ${metrics.length === 1 ? "stage" : "stages"}; ${images.heldOut.length} images were kept aside to judge it.`,
      ],
      facts: [
        { label: "PSNR", value: `${last.psnr.toFixed(2)} dB`, note: "held-out images" },
        { label: "SSIM", value: last.ssim.toFixed(3), note: "held-out images" },
        ...(last.probe === null
          ? []
          : [{ label: "linear probe", value: percent(last.probe)!, note: "averaged latents" }]),
        { label: "time", value: `${(seconds / 60).toFixed(1)} min` },
      ],
      figure: {
        caption: `Held-out images (top), and what the tokenizer makes of them after each stage.`,
        png: await encodePng(hero),
        width: hero.shape[1]!,
        height: hero.shape[0]!,
      },
    },
    curves: await chartStages(views),
    reconstructions: [await showReconstructions(shown, views)],
    latentMaps: [await showLatentMaps(shown, mapsOf(input), 6)],
    metrics: [
      {
        columns: [
          "",
          ["PSNR", "dB"],
          "SSIM",
          ["Fréchet distance", "features of the encoder"],
          ["linear probe", "latents"],
        ],
        rows: metrics.map(({ stage, psnr, ssim, fd, probe }, i) => [
          `${views[i]!.name}: ${stage}`,
          psnr.toFixed(2),
          ssim.toFixed(3),
          fd,
          percent(probe),
        ]),
        caption: `On at most 200 held-out images. Perceptual term of the loss: ${perceptual?.name ?? "none"}.`,
        context: paperStages,
      },
    ],
    samples: [],
    run: {
      timings: {
        columns: ["part", "seconds"],
        rows: Object.entries(clock.seconds).map(([part, spent]) => [part, spent.toFixed(1)]),
      },
      seed,
      versions: installedVersions(),
      config,
    },
  });
  await writeFileAtomic(join(out, "report.html"), html);
}

function mapsOf({ features, views }: TokenizerReport) {
  const [n = 0, h = 0, w = 0] = views[0]!.latents.shape;
  const tokens = { ...features, shape: [n, h, w, features.shape.at(-1)!] };
  return [
    { name: "encoder", map: tokens },
    ...views.map(({ name, latents }) => ({ name: `latents, ${name}`, map: latents })),
  ];
}
