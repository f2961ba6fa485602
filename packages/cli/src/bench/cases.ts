/** All cases, in the order in which they are measured. */
import type { BenchCase, Suite } from "./case.ts";
import { diffusionCases } from "./diffusion-cases.ts";
import { encodeCases } from "./encode-cases.ts";
import { encoderCases } from "./encoder-cases.ts";
import { matmulCase, optimizerCase } from "./machine-cases.ts";
import { tokenizerCases } from "./tokenizer-cases.ts";

export const cases: readonly BenchCase[] = [
  matmulCase,
  ...encoderCases,
  ...encodeCases,
  ...tokenizerCases,
  ...diffusionCases,
  optimizerCase,
];

/** The cases of a suite whose name contains `only`, and the matrix product, which gives the machine's rate. */
export function selectCases(suite: Suite, only = ""): readonly BenchCase[] {
  return cases.filter(
    ({ name, family, bar, writePlan }) =>
      family === "machine" ||
      (name.includes(only) &&
        (suite === "all" ||
          (suite === "engine"
            ? bar !== undefined && !writePlan && family !== "paper"
            : family === suite))),
  );
}
