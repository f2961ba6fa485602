import { createRandom, ndarray } from "@aligntok/core";
import { encodePng, type Image } from "@aligntok/image";
import { paperStages, type ReportData } from "../src/index.ts";

/** A made-up report over `photographs` (N, H, W, 3), with every section filled. */
export async function exampleReport(photographs: readonly Image[]): Promise<ReportData> {
  const random = createRandom(7, "report");
  const noisy = (start: number, end: number, steps: number, noise: number) =>
    Array.from({ length: steps }, (_, i) => {
      const mean = end + (start - end) * Math.exp((-4 * i) / steps);
      return [i + 1, mean * (1 + noise * random.normal())] as const;
    });
  const blurred = (image: Image, amount: number): Image => {
    const data = Uint8Array.from(image.data, (value) =>
      Math.max(0, Math.min(255, value + amount * random.normal())),
    );
    return { ...image, data };
  };
  const pngs = (images: readonly Image[]) => Promise.all(images.map((image) => encodePng(image)));
  const map = () => {
    const data = Uint8Array.from({ length: 8 * 8 * 3 }, () => random.integer(256));
    return encodePng(ndarray(data, [8, 8, 3], "uint8"));
  };
  const stages = [60, 40, 20];
  const columns = ["photograph", "stage 1", "stage 2", "stage 3"];
  return {
    title: "AlignTok quickstart",
    subtitle: "480 photographs of food at 128 px, 9 minutes 12 seconds on 2 cores",
    summary: {
      paragraphs: [
        "A small pretrained vision encoder became an image tokenizer in three stages: a decoder learned to read its frozen features, then both were trained for detail while a semantic loss kept the meaning of the latents, then the decoder was refined alone. A diffusion transformer then learned to make such latents from noise.",
        "Held-out photographs come back at 16.0 dB after stage 3, up from 15.1 dB after stage 1.",
      ],
      facts: [
        { label: "PSNR after stage 3", value: "16.0 dB", note: "held-out photographs" },
        { label: "Linear probe", value: "61.2 %", note: "encoder: 63.0 %" },
        { label: "Samples' distance", value: "0.412", note: "noise: 1.730" },
        { label: "Time", value: "9:12", note: "2 cores, 1.9 GB" },
      ],
      figure: {
        caption: "Held-out photographs above, what the tokenizer makes of them below.",
        png: await encodePng(photographs[0]!),
        width: photographs[0]!.shape[1]!,
        height: photographs[0]!.shape[0]!,
      },
    },
    curves: [
      {
        title: "Reconstruction loss",
        series: [
          { name: "stage 1", points: noisy(0.6, 0.21, 650, 0.08) },
          { name: "stage 2", points: noisy(0.3, 0.18, 285, 0.06) },
          { name: "stage 3", points: noisy(0.2, 0.17, 340, 0.06) },
        ],
      },
      {
        title: "PSNR on held-out photographs",
        unit: "dB",
        series: [
          {
            name: "stage 1",
            points: [
              [0, 9.1],
              [200, 13.6],
              [400, 14.8],
              [650, 15.1],
            ],
          },
          {
            name: "stage 2",
            points: [
              [0, 15.1],
              [140, 15.6],
              [285, 15.9],
            ],
          },
          {
            name: "stage 3",
            points: [
              [0, 15.9],
              [170, 15.95],
              [340, 16.02],
            ],
          },
        ],
      },
      {
        title: "Diffusion loss",
        caption: "Flow matching: the error of the predicted velocity.",
        series: [{ name: "LightningDiT", points: noisy(1.9, 0.9, 3000, 0.2) }],
      },
    ],
    reconstructions: [
      {
        columns,
        groups: await Promise.all(
          photographs.map(async (photograph) => ({
            rows: [
              { pngs: await pngs([photograph, ...stages.map((s) => blurred(photograph, s))]) },
            ],
          })),
        ),
      },
    ],
    latentMaps: [
      {
        columns: ["photograph", "encoder", "latents, stage 1", "latents, stage 3"],
        pixels: true,
        groups: await Promise.all(
          photographs.slice(0, 4).map(async (photograph) => ({
            rows: [{ pngs: [await encodePng(photograph), await map(), await map(), await map()] }],
          })),
        ),
      },
    ],
    metrics: [
      {
        columns: [
          "",
          ["PSNR", "dB"],
          "SSIM",
          ["Fréchet distance", "embedded encoder"],
          ["Linear probe", "5 classes"],
        ],
        rows: [
          ["stage 1, latent", 15.12, 0.412, 1.203, "58.3 %"],
          ["stage 2, perceptual", 15.93, 0.447, 0.812, "61.0 %"],
          ["stage 3, refine", 16.02, 0.455, 0.744, "61.2 %"],
        ],
        context: paperStages,
        caption:
          "The Fréchet distance is computed on the embedded encoder's features, so it compares these stages with one another and nothing else.",
      },
    ],
    samples: [
      {
        groups: await Promise.all(
          ["Fruits <1>", "Fishes & meat"].map(async (title, i) => ({
            title,
            rows: [
              { label: "guidance 1", pngs: await pngs(photographs.slice(i, i + 6)) },
              { label: "guidance 4", pngs: await pngs(photographs.slice(i + 1, i + 7)) },
            ],
          })),
        ),
      },
    ],
    run: {
      command: "aligntok quickstart --minutes 10 --seed 0",
      seed: 0,
      versions: { aligntok: "0.1.0", node: "v20.20.2", "onnxruntime-node": "1.30.0" },
      config: {
        image: { size: 128 },
        decoder: { widths: [64, 128, 256], blocks: 2 },
        stages: { latent: { steps: 650, learningRate: 0.001 } },
      },
      timings: {
        columns: ["", "steps", "seconds", ["per step", "ms"]],
        rows: [
          ["stage 1, latent", 650, 110, 169],
          ["stage 2, perceptual", 285, 110, 386],
          ["diffusion", 3000, 180, 60],
        ],
      },
    },
  };
}
