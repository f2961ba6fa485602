/** The option `--tokenizer`, the same for every command. */
import type { OpenedTokenizer } from "@aligntok/aligntok";
import { listSome } from "@aligntok/core";
import { Option } from "commander";
import { engineOptions } from "./engine-options.ts";
import { type Session, wholeNumber } from "./session.ts";

export function tokenizerOption(): Option {
  return new Option(
    "--tokenizer <path>",
    "a tokenizer's folder, or a file or folder of a VA-VAE, Stable Diffusion, FLUX or TAESD autoencoder",
  ).makeOptionMandatory();
}

/** For commands whose images may be too large for memory. */
export function tileOption(): Option {
  return new Option(
    "--tile <pixels>",
    "cut larger images into overlapping tiles of that side, mixed where they meet (default: never)",
  ).argParser(wholeNumber(1));
}

export interface TokenizerChoice {
  readonly tokenizer: string;
  readonly tile?: number;
  /** Images at a time. */
  readonly batch: number;
}

/** Opens it, and says which tensors of the file are no part of it. */
export async function openTokenizerOption(
  { tokenizer: path, tile, batch }: TokenizerChoice,
  session: Session,
): Promise<OpenedTokenizer> {
  const { createTiledTokenizer, openTokenizer } = await import("@aligntok/aligntok");
  const tokenizer = await openTokenizer(path, { ...engineOptions(session), batchSize: batch });
  const { model, ignored } = tokenizer;
  if (ignored.length > 0) {
    session.log.info(
      `${model}: left out ${ignored.length} tensors of the file (${listSome(ignored, 3)})`,
    );
  }
  return tile === undefined
    ? tokenizer
    : { ...tokenizer, ...createTiledTokenizer(tokenizer, { tile }) };
}
