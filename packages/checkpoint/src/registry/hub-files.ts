/** Which files of a repository make a model. */
import { AlignTokError } from "@aligntok/core";

const weightNames = ["model", "diffusion_pytorch_model"].flatMap((stem) => [
  `${stem}.safetensors`,
  `${stem}.safetensors.index.json`,
]);
const pickledNames = ["pytorch_model", "diffusion_pytorch_model"].flatMap((stem) => [
  `${stem}.bin`,
  `${stem}.bin.index.json`,
]);

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

/** The file of the weights or of their index: safetensors first, pickles where there is nothing else. */
export async function selectWeights(
  has: (name: string) => boolean | Promise<boolean>,
): Promise<string | undefined> {
  for (const name of [...weightNames, ...pickledNames]) if (await has(name)) return name;
  return undefined;
}

export function selectCompanions(has: (name: string) => boolean): string[] {
  return companions.filter(has);
}

/** The files that an index names, which lie beside it. */
export function shardsOf(text: string, source: string): string[] {
  let map: unknown;
  try {
    map = (JSON.parse(text) as { weight_map?: unknown } | null)?.weight_map;
  } catch {
    map = undefined;
  }
  const names = new Set(typeof map === "object" && map !== null ? Object.values(map) : []);
  const plain = [...names].filter(
    (name): name is string => typeof name === "string" && /^[\w-][\w.-]*$/.test(name),
  );
  if (plain.length === 0 || plain.length !== names.size) {
    throw new AlignTokError(
      "bad-format",
      `index ${source}: expected weight_map with names of files beside it, got ${text.length} characters without. pull it again with force`,
    );
  }
  return plain;
}
