import type { ReportTable } from "./blocks.ts";

/**
 * What the paper reports for its three stages: DINOv2 ViT-L, f16d32, ImageNet 256x256 (AlignTok, Chen et al.,
 * ICLR 2026, ablation table). Columns: name, PSNR (dB), SSIM, Fréchet distance (Inception, rFID), linear probe (%).
 */
export const paperStages: NonNullable<ReportTable["context"]> = {
  heading:
    "The paper's own numbers, for orientation only: ImageNet at 256 px, a large encoder, days on many GPUs, FID and probe on ImageNet",
  rows: [
    ["stage 1", 17.34, undefined, 1.63, "41.53 %"],
    ["stage 1 + 2", undefined, undefined, 0.36, "35.09 %"],
    ["stage 1 + 2 + 3", undefined, undefined, 0.26, "35.09 %"],
  ],
};
