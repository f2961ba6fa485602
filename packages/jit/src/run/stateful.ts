/** Programs that keep arrays from one run to the next: training state, running statistics, caches. */
import { AlignTokError, check, type NdArray } from "@aligntok/core";
import type { Tensor } from "@tensorflow/tfjs-core";
import type { Graph } from "../graph/graph.ts";
import { isArrayLeaf, type MapTree, mapTree, specOf, type TensorSpec, type Tree } from "../tree.ts";
import { matchInputs, matchTargets } from "./arguments.ts";
import type { BoundInputs, NoInputs } from "./bound-inputs.ts";
import { type CompileOptions, compile, type RunOptions } from "./compile.ts";
import { prepare } from "./prepare.ts";
import { openTensorFlowGraph } from "./tensorflow-session.ts";
import { createTurns } from "./turns.ts";

/** A compiled function with a state of its own. */
export interface Stateful<State, In, Out> {
  /**
   * Computes the outputs and the next state. `into` names arrays to be filled, any part of the tree of outputs.
   *
   * A run that fails, or that its signal stops before it begins, leaves the state as it was; only TensorFlow
   * may have replaced part of it when memory runs out in the middle of a run.
   *
   * @throws AlignTokError as `run` of a compiled function
   */
  run(inputs: In, options?: RunOptions): Promise<Out>;
  /** A copy of the state as the runs asked for before leave it. */
  readState(): Promise<State>;
  /**
   * Replaces the state: after `writeState(await readState())` runs continue bit by bit.
   *
   * @throws AlignTokError `bad-input` for arrays that are not of the state's names, shapes and types
   */
  writeState(state: State): Promise<void>;
  /** Releases the state and the engine's memory once the runs asked for have ended. A second call does nothing. */
  dispose(): void;
}

/** The state of an engine, under the names of the inputs that it is to the graph: `state/...`. */
interface StateSession {
  run(feeds: Readonly<Record<string, unknown>>, options: RunOptions): Promise<unknown>;
  read(): Promise<unknown>;
  write(state: unknown): Promise<void>;
  dispose(): void;
}

/**
 * Compiles a function of a state and inputs to the next state and outputs, for an engine that keeps the state: on
 * TensorFlow in variables on the device, so that a run moves inputs and outputs only; on the others in arrays of its
 * own.
 *
 * ```ts
 * const counter = await compileStateful(
 *   ({ state: { total }, x }: { state: { total: Tensor }; x: Tensor }) => {
 *     const sum = tf.add(total, tf.sum(x));
 *     return { state: { total: sum }, outputs: sum };
 *   },
 *   { state: { total: ndarray(new Float32Array(1), []) }, inputs: { x: spec([3]) } },
 * );
 * ```
 *
 * @param fn gets `{ state, ...inputs }`, and gives `{ state, outputs }` with a state of the same names, shapes and
 * types; otherwise as for `compile`
 * @param given the initial state, of float32, int32 and bool arrays, which are copied; the shapes of the other inputs
 * @throws AlignTokError as `compile`, and `bad-input` for a function whose state is of another kind
 */
export async function compileStateful<State, S, Out, Bound extends BoundInputs = NoInputs>(
  fn: (
    given: { readonly state: MapTree<State, NdArray, Tensor> } & MapTree<S, TensorSpec, Tensor> &
      MapTree<Bound, NdArray, Tensor>,
  ) => { readonly state: MapTree<State, NdArray, Tensor>; readonly outputs: Out },
  { state, inputs }: { readonly state: State; readonly inputs: S },
  options: CompileOptions<Bound> = {},
): Promise<
  Stateful<
    MapTree<State, NdArray, NdArray<"float32">>,
    MapTree<S, TensorSpec, NdArray>,
    MapTree<Out, Tensor, NdArray<"float32">>
  >
> {
  check(
    typeof inputs === "object" && inputs !== null && !isArrayLeaf(inputs) && !("state" in inputs),
    "inputs: expected a record without the key state, which is the program's own",
  );
  const program = { fn, state, inputs };
  const open = options.engine === "tensorflow" ? openVariables : openArrays;
  const session = await open(program, options as CompileOptions);
  const turns = createTurns();
  let disposed = false;
  const inTurn = <T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> => {
    check(!disposed, "run: the program has been disposed. compile it again");
    signal?.throwIfAborted();
    return turns.inTurn(signal, work);
  };
  return {
    async run(inputs, options = {}) {
      check(
        !("state" in (inputs as object)),
        "input state: expected the other inputs only, for the program has its state. use writeState",
      );
      return (await inTurn(() => session.run(inputs as never, options), options.signal)) as never;
    },
    readState: async () => inTurn(() => session.read()) as never,
    writeState: async (state) => inTurn(() => session.write(state)),
    dispose() {
      if (disposed) return;
      disposed = true;
      void turns
        .idle()
        .then(session.dispose)
        .catch(() => {}); // see Session.dispose
    },
  };
}

interface StatefulProgram {
  readonly fn: unknown;
  readonly state: unknown;
  readonly inputs: unknown;
}

/** Two sets of arrays: a run reads one and fills the other. */
async function openArrays(
  { fn, state, inputs }: StatefulProgram,
  options: CompileOptions,
): Promise<StateSession> {
  const specs = { state: specOf(state), ...(inputs as object) };
  const compiled = await compile(fn as never, specs, options);
  checkNextState(compiled.graph);
  let [current, next] = [copyTree(state), copyTree(state)];
  return {
    async run(feeds, { into, signal }) {
      const targets = { state: next, ...(into !== undefined && { outputs: into }) };
      const given = { ...feeds, state: current } as never;
      const result = await compiled.run(given, { into: targets, ...(signal && { signal }) });
      [current, next] = [next, current];
      return (result as { outputs: unknown }).outputs;
    },
    read: async () => copyTree(current),
    async write(state) {
      matchState(compiled.graph, state);
      current = copyTree(state);
    },
    dispose: () => compiled.dispose(),
  };
}

/** Variables of TensorFlow. */
async function openVariables(
  { fn, state, inputs }: StatefulProgram,
  options: CompileOptions,
): Promise<StateSession> {
  const shapes = specOf(state);
  const specs = { state: shapes, ...(inputs as object) };
  const program = await prepare(fn, specs, options);
  const { graph, outputNames } = program;
  checkNextState(graph);
  const bound = graph.inputs.flatMap(({ name, array }) => (array ? [[name, array] as const] : []));
  const own = stateInputs(graph).map(({ name }) => name);
  const loaded = await openTensorFlowGraph(
    program,
    new Map([
      ...own.map((name) => [name, `out:${name}`] as const),
      ...bound.map(([name]) => [name, undefined] as const),
    ]),
    options,
  );
  const free = { ...graph, inputs: graph.inputs.filter(({ name }) => !own.includes(name)) };
  const visible = { ...graph, outputs: graph.outputs.filter(({ name }) => !isStateOutput(name)) };
  loaded.assign(new Map([...bound, ...matchState(graph, state)]));
  const isName = (x: unknown): x is string => typeof x === "string";
  return {
    async run(feeds, { into }) {
      const targets = into === undefined ? undefined : { outputs: into };
      const made = loaded.run(matchInputs(free, feeds), matchTargets(visible, targets));
      const { outputs } = outputNames as { outputs: unknown };
      return mapTree(outputs, isName, (name) => made.get(name)!);
    },
    async read() {
      const values = loaded.read(own);
      return mapTree(shapes, isArrayLeaf, (_, path) => values.get(nameOf(path))!);
    },
    write: async (state) => loaded.assign(matchState(graph, state)),
    dispose: () => loaded.dispose(),
  };
}

const nameOf = (path: string) => (path ? `state/${path}` : "state");
const isState = (name: string) => name === "state" || name.startsWith("state/");
const isStateOutput = (name: string) => isState(name.slice("out:".length));
const stateInputs = (graph: Graph) => graph.inputs.filter(({ name }) => isState(name));

/** The next state must fit where the state was. */
function checkNextState(graph: Graph): void {
  const next = new Map(graph.outputs.map(({ name, value }) => [name, value]));
  const before = stateInputs(graph);
  for (const { name, value } of before) {
    const made = next.get(`out:${name}`);
    if (made?.dtype === value.dtype && made.shape.join() === value.shape.join()) continue;
    const got = made ? `${made.dtype} [${made.shape}]` : "nothing";
    throw new AlignTokError(
      "bad-input",
      `${name}: expected the function to return ${value.dtype} [${value.shape}] for it, got ${got}. return { state, outputs } with the whole next state`,
    );
  }
  const names = new Set(before.map(({ name }) => `out:${name}`));
  const extra = [...next.keys()].find((name) => isStateOutput(name) && !names.has(name));
  check(
    extra === undefined,
    () => `${extra?.slice(4)}: returned as state, but the initial state has no such array`,
  );
}

function matchState(graph: Graph, state: unknown): ReadonlyMap<string, NdArray> {
  return matchInputs({ ...graph, inputs: stateInputs(graph) }, { state });
}

function copyTree(state: unknown): Tree<NdArray> {
  return mapTree(state, isArrayLeaf, (leaf) => {
    const array = leaf as NdArray;
    return { ...array, data: array.data.slice() } as NdArray;
  });
}
