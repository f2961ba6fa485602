import type { NdArray } from "./nd-array.ts";

/** `(N, H, W, 3)` uint8, RGB. */
export type Images = NdArray<"uint8">;

/** What a vision encoder takes: `(N, H, W, 3)` uint8; it normalises by its own mean and standard deviation. */
export interface Encoder {
  /** Architecture and preprocessing, as stored beside the weights. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Side of a patch in pixels; height and width must be multiples of it. */
  readonly patchSize: number;
  /** Number of channels of a token. */
  readonly width: number;
  /** Tokens that precede the patch tokens: the class token and registers. */
  readonly prefixTokens: number;
  /** `(N, prefixTokens + H/p * W/p, width)` float32: the tokens after the final normalisation. */
  features(images: Images): Promise<NdArray<"float32">>;
  /** Releases the compiled graphs. */
  dispose(): void;
}

/** Per-channel statistics of latents, each of length d. */
export interface LatentStats {
  readonly mean: Float32Array;
  readonly std: Float32Array;
}

/** An image autoencoder whose latents a diffusion model learns. */
export interface Tokenizer {
  /** `[h, w, d]` of the latents of an image of height h and width w in pixels. */
  latentShape(height: number, width: number): readonly [number, number, number];
  /** `(N, H, W, 3)` uint8 to `(N, h, w, d)` float32, unnormalised. */
  encode(images: Images): Promise<NdArray<"float32">>;
  /** `(N, h, w, d)` float32 to `(N, H, W, 3)` uint8. */
  decode(latents: NdArray<"float32">): Promise<Images>;
  /** Statistics of the training latents, where they have been computed. */
  readonly stats: LatentStats | undefined;
  dispose(): void;
}

/** A batch of images of one size with what is known of them. */
export interface ImageBatch {
  readonly images: Images;
  /** Names of the images: file paths or sample keys. */
  readonly keys: readonly string[];
  /** Class indices, where the source has classes. */
  readonly labels?: Int32Array;
  /** Captions, where the source has them. */
  readonly captions?: readonly string[];
}

/** Where a source stands; feeding it back continues with the very next image. */
export interface SourceState {
  readonly epoch: number;
  /** Images already delivered in this epoch. */
  readonly position: number;
  readonly seed: number;
}

/** A stream of image batches whose order is a function of (seed, epoch). */
export interface ImageSource {
  batches(options?: { readonly signal?: AbortSignal }): AsyncIterable<ImageBatch>;
  /** The position after the batch that was delivered last. */
  state(): SourceState;
}

/** What a Fréchet distance is computed on. `name` labels every number that comes of it. */
export interface FeatureExtractor {
  readonly name: string;
  readonly width: number;
  /** `(N, H, W, 3)` uint8 to `(N, width)` float32. */
  extract(images: Images): Promise<NdArray<"float32">>;
}

export interface TextEncodeOptions {
  /** Longest sequence in tokens; longer texts are cut and keep their end token. @default the model's: 77 for CLIP, 512 for T5 */
  readonly maxLength?: number;
  /** `longest`: every text gets as many tokens as the longest of the call; `max`: as many as `maxLength`. @default "longest" */
  readonly padding?: "longest" | "max";
  /**
   * Whether tokens see the padding, as in pipelines that give the model no mask (FLUX and Stable Diffusion 3 for T5,
   * with `padding: "max"`). @default false
   */
  readonly attendPadding?: boolean;
  readonly signal?: AbortSignal;
}

/** What a text encoder makes of N texts of T tokens. */
export interface TextFeatures {
  /** `(N, T, width)`: a vector for each token, after the final normalisation. */
  readonly tokens: NdArray<"float32">;
  /** `(N, T)`: 1 for tokens of the text, its start and its end; 0 for padding, which follows them. */
  readonly mask: NdArray<"uint8">;
  /** `(N, width)`: the token that stands for the whole text, where the model has one (CLIP: the end of text). */
  readonly pooled?: NdArray<"float32">;
  /** `(N, E)`: `pooled` projected into the space that texts and images share, where the model has one. Not normalised. */
  readonly embedding?: NdArray<"float32">;
}

/** Text to conditioning vectors. */
export interface TextEncoder {
  /** Number of channels of a token. */
  readonly width: number;
  encode(texts: readonly string[], options?: TextEncodeOptions): Promise<TextFeatures>;
  /** Releases the compiled graphs. */
  dispose(): void;
}

/** A denoising network as samplers see it: the velocity of latents `(N, h, w, d)` at times `(N)` in [0, 1]. */
export interface Denoiser {
  velocity(
    latents: NdArray<"float32">,
    times: Float32Array,
    labels: Int32Array,
  ): Promise<NdArray<"float32">>;
  /** The label that stands for "no class". */
  readonly nullLabel: number;
}
