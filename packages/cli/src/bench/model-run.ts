/** The two things that a case does with a model: compute its outputs, or train it by a step. */
import type { NdArray, Parameters } from "@aligntok/core";
import { compile, specOf, valueAndGrad } from "@aligntok/jit";
import { type FlatParameters, flattenParameters, type Optimizer, zerosLike } from "@aligntok/train";
import type { Tensor } from "@tensorflow/tfjs-core";
import type { EngineOptions, Prepared } from "./case.ts";
import { timed } from "./stopwatch.ts";
import { countElements } from "./weights.ts";

type Tensors = Readonly<Record<string, Tensor>>;
type Arrays = Readonly<Record<string, NdArray>>;

/** Computes `apply` of weights and inputs. */
export async function prepareForward(
  {
    params,
    inputs,
    apply,
  }: {
    readonly params: Parameters;
    readonly inputs: Arrays;
    readonly apply: (params: Tensors, inputs: Tensors) => Tensor;
  },
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
