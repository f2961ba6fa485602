/** What stands in the metadata of a safetensors file beside latents or features, each as JSON. */
import { isRecord } from "./is-record.ts";

export interface RowMetadata {
  /** Names of the images. */
  readonly keys?: readonly string[];
  /** Names of the classes by index, as `id2label` in Hugging Face's `config.json`. */
  readonly classes?: ClassNames;
  /** Pixels of the image of the only row, of which its latents may cover more (see `padImages`). */
  readonly imageSize?: readonly [height: number, width: number];
  /** What made the latents. */
  readonly tokenizer?: TokenizerMark;
}

export type ClassNames = Readonly<Record<number, string>>;

/** What latents must have in common with the tokenizer that decodes them. */
export interface TokenizerMark {
  /** As `openTokenizer` names it. */
  readonly model: string;
  /** Pixels of an image per position. */
  readonly stride: number;
}

export function formatRowMetadata(content: RowMetadata): Record<string, string> {
  const { keys, classes, imageSize, tokenizer } = content;
  const named = { keys, classes: classes && { ...classes }, image_size: imageSize, tokenizer };
  const present = Object.entries(named).filter(([, value]) => value !== undefined);
  return Object.fromEntries(present.map(([name, value]) => [name, JSON.stringify(value)]));
}

/** Without what is not there, or is something else: other writers use the same names. */
export function parseRowMetadata(metadata: Readonly<Record<string, string>>): RowMetadata {
  const [keys, classes, size, tokenizer] = ["keys", "classes", "image_size", "tokenizer"].map(
    (name) => parse(metadata[name]),
  );
  return {
    ...(Array.isArray(keys) && keys.every(isText) && { keys }),
    ...(isRecord(classes) &&
      Object.values(classes).every(isText) && { classes: classes as ClassNames }),
    ...(Array.isArray(size) &&
      size.length === 2 &&
      size.every(isSide) && { imageSize: size as [number, number] }),
    ...(isRecord(tokenizer) &&
      isText(tokenizer.model) &&
      isSide(tokenizer.stride) && { tokenizer: tokenizer as unknown as TokenizerMark }),
  };
}

function parse(text: string | undefined): unknown {
  try {
    return text && JSON.parse(text);
  } catch {
    return undefined;
  }
}

const isText = (value: unknown): value is string => typeof value === "string";
const isSide = (value: unknown): value is number => Number.isInteger(value) && Number(value) > 0;
