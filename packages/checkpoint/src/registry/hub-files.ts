/** Which files of a repository make a model. */
import { parseShardIndex } from "../shard-index.ts";

const weightNames = ["model", "diffusion_pytorch_model"].flatMap((stem) => [
  `${stem}.safetensors`,
  `${stem}.safetensors.index.json`,
]);
const pickledNames = ["pytorch_model", "diffusion_pytorch_model"].flatMap((stem) => [
  `${stem}.bin`,
  `${stem}.bin.index.json`,
]);

/** Usual names of weights in a folder of Hugging Face, the preferred first: pickles where there is nothing else. */
export const usualWeights: readonly string[] = [...weightNames, ...pickledNames];

/** What stands beside the weights: configuration, preprocessing, tokenizers. */
const companions = [
  "config.json",
  "preprocessor_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "vocab.json",
  "merges.txt",
  "spiece.model",
  "tokenizer.model",
];

/** The file of the weights or of their index. */
export async function selectWeights(
  has: (name: string) => boolean | Promise<boolean>,
): Promise<string | undefined> {
  for (const name of usualWeights) if (await has(name)) return name;
  return undefined;
}

export function selectCompanions(has: (name: string) => boolean): string[] {
  return companions.filter(has);
}

/** The files that an index names, which lie beside it. @throws AlignTokError `bad-format` */
export function shardsOf(text: string, source: string): string[] {
  return [...new Set(parseShardIndex(text, source).weightMap.values())];
}
