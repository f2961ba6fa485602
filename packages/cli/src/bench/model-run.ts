/** The two things that a case does with a model: compute its outputs, or train it by a step. */
import type { NdArray, Parameters } from "@aligntok/core";
import { compile, specOf, valueAndGrad } from "@aligntok/jit";
import {
  createAdamW,
  type FlatParameters,
  flattenParameters,
  type Optimizer,
  zerosLike,
} from "@aligntok/train";
import { mean, square, type Tensor } from "@tensorflow/tfjs-core";
import type { EngineOptions, Prepared } from "./case.ts";
import { timed } from "./stopwatch.ts";
import { countElements } from "./weights.ts";

type Tensors = Readonly<Record<string, Tensor>>;
type Arrays = Readonly<Record<string, NdArray>>;

/** A function with its weights and inputs. */
export interface Model {
  readonly params: Parameters;
  readonly inputs: Arrays;
  readonly apply: (params: Tensors, inputs: Tensors) => Tensor;
}

/** Computes `apply` of weights and inputs. */
export async function prepareForward(
  { params, inputs, apply }: Model,
  engine: EngineOptions & { readonly precision?: "float32" | "int8" },
): Promise<Prepared> {
  const { value: graph, ms: compileMs } = await timed(() =>
    compile(
      ({ params, inputs }) => apply(params as Tensors, inputs as Tensors),
      { inputs: specOf(inputs) },
      { ...engine, bind: { params } },
    ),
  );
  return { parameters: countElements(params), compileMs, run: () => graph.run({ inputs }) };
}

/** A step that pulls all of a model's outputs to 0 with AdamW: any loss will do to measure a model. */
export function prepareAdamWStep(
  { params, inputs, apply }: Model,
  engine: EngineOptions,
): Promise<Prepared> {
  return prepareTraining(
    {
      params,
      inputs,
      loss: (params, inputs) => mean(square(apply(params, inputs))),
      optimizer: (weights) => createAdamW(weights, { weightDecay: 0.05 }),
      lr: 1e-5,
    },
    engine,
  );
}

/** A step: loss, gradients of all of `params`, update. */
export async function prepareTraining(
  {
    params,
    inputs,
    loss,
    optimizer,
    lr,
  }: {
    readonly params: Parameters;
    readonly inputs: Arrays;
    readonly loss: (params: Tensors, inputs: Tensors) => Tensor;
    readonly optimizer: (weights: FlatParameters) => Optimizer;
    readonly lr: number;
  },
  engine: EngineOptions,
): Promise<Prepared> {
  const weights = flattenParameters(params);
  const gradients = zerosLike(weights);
  const update = optimizer(weights);
  const given = { params: weights.views, inputs };
  const { value: graph, ms: compileMs } = await timed(() =>
    compile(
      ({ params, inputs }) => valueAndGrad((p: Tensors) => loss(p, inputs as Tensors), params),
      specOf(given),
      engine,
    ),
  );
  return {
    parameters: weights.flat.length,
    compileMs,
    async run() {
      await graph.run(given, { into: { gradients: gradients.views } });
      update.update(gradients.flat, { lr });
    },
  };
}
