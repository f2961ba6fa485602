/**
 * What is compared: a row is a training, of an encoder, of another row's tokenizer, or of an autoencoder from scratch.
 * The paper's numbers are those of its Tables 1, 3 and 16 (ImageNet at 256 px, LightningDiT-XL/1 after 80,000 steps).
 */
import type { Stage, TrainStageOptions } from "@aligntok/aligntok";
import type { VisionConfig } from "@aligntok/aligntok/vae";

export type RowId =
  | "stage-1"
  | "semantic-0"
  | "semantic-1"
  | "semantic-5"
  | "before-adapter"
  | "cosine"
  | "lora"
  | "all-stages"
  | "vanilla-vae"
  | "va-vae"
  | "va-vae-margins";

export interface Row {
  readonly id: RowId;
  /** What the tables call it. */
  readonly name: string;
  /** The weights and margins of a VA-VAE are those of its first phase; its last one has 0.1, 0.5 and 0.25. */
  readonly training:
    | {
        readonly stage: Stage;
        /** The row whose tokenizer it starts from. @default an untrained one */
        readonly from?: RowId;
        readonly options?: Partial<TrainStageOptions>;
      }
    | { readonly autoencoder: { readonly vision?: Partial<VisionConfig> } };
  /** Whether a diffusion model learns its latents; a refined decoder takes the model of the row before. */
  readonly diffusion?: true;
  readonly paper: {
    readonly rfid?: number;
    /** % */
    readonly probe?: number;
    readonly gfid?: number;
    readonly cknna?: number;
  };
}

const perceptual = (options: Partial<TrainStageOptions>): Row["training"] => ({
  stage: "perceptual",
  from: "stage-1",
  options,
});

export const rows: readonly Row[] = [
  {
    id: "stage-1",
    name: "stage 1 only",
    training: { stage: "latent" },
    diffusion: true,
    paper: { rfid: 1.63, probe: 41.53, gfid: 3.0 },
  },
  {
    id: "semantic-0",
    name: "stages 1, 2; w_sp = 0",
    training: perceptual({ semanticWeight: 0 }),
    diffusion: true,
    paper: { rfid: 0.33, probe: 9.5, gfid: 3.05 },
  },
  {
    id: "semantic-1",
    name: "stages 1, 2; w_sp = 1",
    training: perceptual({ semanticWeight: 1 }),
    diffusion: true,
    paper: { rfid: 0.36, probe: 35.09, gfid: 2.19 },
  },
  {
    id: "semantic-5",
    name: "stages 1, 2; w_sp = 5",
    training: perceptual({ semanticWeight: 5 }),
    paper: { rfid: 0.49, probe: 40.55, gfid: 2.48 },
  },
  {
    id: "before-adapter",
    name: "stages 1, 2; before the adapter",
    training: perceptual({ semanticTarget: "features" }),
    paper: { rfid: 0.34, probe: 15.61, gfid: 2.83 },
  },
  {
    id: "cosine",
    name: "stages 1, 2; cosine",
    training: perceptual({ semanticDistance: "cosine" }),
    paper: { rfid: 0.37, probe: 37.99, gfid: 2.23 },
  },
  {
    id: "lora",
    name: "stages 1, 2; LoRA",
    training: perceptual({ lora: { rank: 16 } }),
    paper: { rfid: 1.35, probe: 18.56, gfid: 2.97 },
  },
  {
    id: "all-stages",
    name: "AlignTok, stages 1 to 3",
    training: { stage: "refine", from: "semantic-1" },
    diffusion: true,
    paper: { rfid: 0.26, probe: 35.09, gfid: 2.17, cknna: 0.282 },
  },
  {
    id: "vanilla-vae",
    name: "Vanilla VAE",
    training: { autoencoder: {} },
    diffusion: true,
    paper: { rfid: 0.26, probe: 6.04, gfid: 3.31, cknna: 0.023 },
  },
  {
    id: "va-vae",
    name: "VA-VAE",
    training: { autoencoder: { vision: { weight: 0.5, cosineMargin: 0, distanceMargin: 0 } } },
    diffusion: true,
    paper: { rfid: 0.28, probe: 22.96, gfid: 3.13, cknna: 0.233 },
  },
  {
    id: "va-vae-margins",
    name: "VA-VAE with margins",
    training: {
      autoencoder: { vision: { weight: 0.5, cosineMargin: 0.5, distanceMargin: 0.25 } },
    },
    paper: {},
  },
];

export const rowOf = (id: RowId): Row => rows.find((row) => row.id === id)!;
