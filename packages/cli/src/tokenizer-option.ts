/** The option `--tokenizer`, the same for every command. */
import type { OpenedTokenizer } from "@aligntok/aligntok";
import type { AutoencoderModel } from "@aligntok/aligntok/vae";
import { listSome } from "@aligntok/core";
import { type Command, Option } from "commander";
import { engineOptions } from "./engine-options.ts";
import { type Session, wholeNumber } from "./session.ts";

export function tokenizerOption(): Option {
  return new Option(
    "--tokenizer <path>",
    "a tokenizer's folder, or a file or folder of a VA-VAE, Stable Diffusion, FLUX or TAESD autoencoder",
  ).makeOptionMandatory();
}

export function tokenizerModelOption(): Option {
  return new Option(
    "--tokenizer-model <name>",
    "which of several models of equal shapes a lone file holds: sd-vae or sdxl-vae, flux-ae or sd3-vae (default: the first)",
  );
}

/** Largest side of an image that goes through a network at once, unless `--tile` says otherwise. */
const mostAtOnce = 1024;

/** For commands whose images may be too large for a network. */
export function addTokenizerOptions(command: Command): Command {
  return command
    .addOption(tokenizerOption())
    .addOption(tokenizerModelOption())
    .addOption(
      new Option(
        "--tile <pixels>",
        `cut larger images into overlapping tiles of that side, mixed where they meet; 0: never (default: ${mostAtOnce})`,
      ).argParser(wholeNumber(0)),
    );
}

export interface TokenizerChoice {
  readonly tokenizer: string;
  readonly tokenizerModel?: AutoencoderModel;
  /** Side of a tile in pixels; 0: none. @default 1024, or the multiple of the stride below */
  readonly tile?: number;
  /** Images at a time. */
  readonly batch: number;
}

/** Opens it in tiles, and says which tensors of the file are no part of it. */
export async function openTokenizerOption(
  { tokenizer: path, tokenizerModel: model, tile, batch }: TokenizerChoice,
  session: Session,
): Promise<OpenedTokenizer> {
  const { createTiledTokenizer, openTokenizer } = await import("@aligntok/aligntok");
  const tokenizer = await openTokenizer(path, {
    ...engineOptions(session),
    batchSize: batch,
    ...(model && { model }),
  });
  const { ignored } = tokenizer;
  if (ignored.length > 0) {
    session.log.info(
      `${tokenizer.model}: left out ${ignored.length} tensors of the file (${listSome(ignored, 3)})`,
    );
  }
  if (tile === 0) return tokenizer;
  const side = tile ?? mostAtOnce - (mostAtOnce % tokenizer.stride);
  return { ...tokenizer, ...createTiledTokenizer(tokenizer, { tile: side }) };
}
