/** Each pass on a graph of a few nodes: what it makes of it, and that the outputs stay as they are. */
import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import { type Graph, printGraph } from "../src/index.ts";
import { shareSubexpressions } from "../src/passes/common-subexpressions.ts";
import { removeDeadCode } from "../src/passes/dead-code.ts";
import { fuse } from "../src/passes/fuse.ts";
import { optimize } from "../src/passes/index.ts";
import { simplify } from "../src/passes/simplify.ts";
import { execute, operations, record } from "./graphs.ts";

type Fn = (...inputs: Tensor[]) => unknown;

/** Checks that `pass` turns the operations `before` into `after` and leaves the outputs as they are. */
async function expectPass(
  pass: (graph: Graph) => Graph,
  [fn, shapes]: readonly [Fn, number[][]],
  [before, after]: readonly [string[], string[]],
): Promise<void> {
  const graph = record(fn, shapes);
  expect(operations(graph)).toEqual(before);
  const passed = pass(graph);
  expect(operations(passed)).toEqual(after);
  expect(passed.outputs.map(({ value }) => value)).toEqual(graph.outputs.map(({ value }) => value));
  expect(await execute(passed)).toEqual(await execute(graph));
}

const simplified = (graph: Graph) => removeDeadCode(simplify(graph));
const filled = (shape: number[], value: number) => tf.fill(shape, value);

it("drops what no output needs", async () => {
  const fn: Fn = (x) => {
    tf.exp(tf.sin(x!));
    return tf.cos(x!);
  };
  await expectPass(removeDeadCode, [fn, [[3]]], [["Sin", "Exp", "Cos"], ["Cos"]]);
});

describe("common subexpressions", () => {
  it("computes equal expressions once, through chains", async () => {
    const fn: Fn = (x) => [tf.exp(tf.sin(x!)), tf.neg(tf.exp(tf.sin(x!)))];
    await expectPass(
      shareSubexpressions,
      [fn, [[3]]],
      [
        ["Sin", "Exp", "Sin", "Exp", "Neg"],
        ["Sin", "Exp", "Neg"],
      ],
    );
  });

  it("tells attributes, constants and special numbers apart", async () => {
    const fn: Fn = (x) => [
      tf.leakyRelu(x!, 0.1),
      tf.leakyRelu(x!, 0.2),
      tf.add(x!, tf.tensor1d([1, 2, 3])),
      tf.add(x!, tf.tensor1d([1, 2, 4])),
      tf.minimum(x!, filled([3], Number.POSITIVE_INFINITY)),
      tf.minimum(x!, filled([3], Number.NEGATIVE_INFINITY)),
      tf.div(1, tf.mul(filled([3], -0), tf.abs(x!))),
      tf.div(1, tf.mul(filled([3], 0), tf.abs(x!))),
    ];
    const graph = record(fn, [[3]]);
    const outputs = await execute(shareSubexpressions(graph));
    expect(outputs).toEqual(await execute(graph));
    expect(outputs[5]).toEqual([-Infinity, -Infinity, -Infinity]);
    expect(outputs[6]).toEqual([-Infinity, -Infinity, -Infinity]);
  });
});

describe("simplify", () => {
  const cases: [name: string, fn: Fn, shapes: number[][], before: string[], after: string[]][] = [
    [
      "folds numbers",
      (x) => tf.mul(x!, tf.neg(tf.add(tf.scalar(2), tf.sqrt(tf.scalar(9))))),
      [[3]],
      ["Sqrt", "Add", "Neg", "Multiply"],
      ["Multiply"],
    ],
    [
      "casts numbers by the rules of their types",
      (x) => tf.add(x!, tf.cast(tf.cast(tf.scalar(0.5), "bool"), "float32")),
      [[3]],
      ["Cast", "Cast", "Add"],
      ["Add"],
    ],
    [
      "keeps numbers through movements",
      (x) => tf.add(x!, tf.transpose(tf.reshape(filled([6], 3), [3, 2]))),
      [[2, 3]],
      ["Reshape", "Transpose", "Add"],
      ["Add"],
    ],
    ["x + 0", (x) => tf.add(tf.scalar(0), tf.add(x!, 0)), [[3]], ["Add", "Add"], []],
    ["x + 0 that broadcasts", (x) => tf.add(x!, tf.zeros([2, 3])), [[3]], ["Add"], ["Add"]],
    ["x - 0", (x) => tf.sub(x!, 0), [[3]], ["Sub"], []],
    ["0 - x", (x) => tf.sub(0, x!), [[3]], ["Sub"], ["Neg"]],
    ["x * 1", (x) => tf.mul(tf.mul(1, x!), 1), [[3]], ["Multiply", "Multiply"], []],
    ["x * 0", (x) => tf.mul(tf.abs(x!), 0), [[3]], ["Abs", "Multiply"], []],
    ["x / 1", (x) => tf.div(x!, 1), [[3]], ["RealDiv"], []],
    ["x / 8", (x) => tf.div(x!, 8), [[3]], ["RealDiv"], ["Multiply"]],
    ["x / 3 stays", (x) => tf.div(x!, 3), [[3]], ["RealDiv"], ["RealDiv"]],
    [
      "x / 8 that broadcasts",
      (x) => tf.div(x!, filled([2, 3], 8)),
      [[3]],
      ["RealDiv"],
      ["Multiply"],
    ],
    ["reshape to the same shape", (x) => tf.reshape(x!, [3]), [[3]], ["Reshape"], []],
    [
      "reshapes in a row",
      (x) => tf.expandDims(tf.reshape(x!, [2, 3]), 0),
      [[6]],
      ["Reshape", "ExpandDims"],
      ["Reshape"],
    ],
    [
      "reshapes there and back",
      (x) => tf.reshape(tf.reshape(x!, [2, 3]), [6]),
      [[6]],
      ["Reshape", "Reshape"],
      [],
    ],
    [
      "transposes in a row",
      (x) => tf.transpose(tf.transpose(x!, [1, 2, 0]), [0, 2, 1]),
      [[2, 3, 4]],
      ["Transpose", "Transpose"],
      ["Transpose"],
    ],
    [
      "transposes there and back",
      (x) => tf.transpose(tf.transpose(x!, [1, 2, 0]), [2, 0, 1]),
      [[2, 3, 4]],
      ["Transpose", "Transpose"],
      [],
    ],
    ["whole slice", (x) => tf.slice(x!, [0], [3]), [[3]], ["Slice"], []],
    ["tile of ones", (x) => tf.tile(x!, [1, 1]), [[2, 3]], ["Tile"], []],
    [
      "a broadcast that the sum does by itself",
      (x, y) => tf.add(tf.broadcastTo(x!, [2, 3]), y!),
      [
        [1, 3],
        [2, 3],
      ],
      ["Tile", "Add"],
      ["Add"],
    ],
    [
      "a broadcast that nothing else does",
      (x, y) => tf.add(tf.broadcastTo(x!, [2, 3]), y!),
      [[1, 3], [3]],
      ["Tile", "Add"],
      ["BroadcastTo", "Add"],
    ],
    [
      "scales in a row",
      (x) => tf.mul(4, tf.mul(x!, 0.5)),
      [[3]],
      ["Multiply", "Multiply"],
      ["Multiply"],
    ],
    [
      "scales in a row beyond float32",
      (x) => tf.mul(tf.mul(x!, 1e30), 1e30),
      [[3]],
      ["Multiply", "Multiply"],
      ["Multiply", "Multiply"],
    ],
    [
      "scales of integers",
      (x) =>
        tf.cast(
          tf.mul(tf.mul(tf.cast(x!, "int32"), tf.scalar(3, "int32")), tf.scalar(5, "int32")),
          "float32",
        ),
      [[3]],
      ["Cast", "Multiply", "Multiply", "Cast"],
      ["Cast", "Multiply", "Multiply", "Cast"],
    ],
  ];
  it.each(cases)("%s", async (_, fn, shapes, before, after) => {
    // Two rounds, as a tile becomes a broadcast before it disappears.
    await expectPass((graph) => simplified(simplified(graph)), [fn, shapes], [before, after]);
  });

  it("takes x * 0 for 0 even where x is not finite", async () => {
    const graph = record((x) => tf.mul(tf.div(x!, 0), 0), [[2]]);
    expect(await execute(simplified(graph))).toEqual([[0, 0]]);
  });
});

describe("fuse", () => {
  const fused = (graph: Graph) => removeDeadCode(fuse(graph));
  const matrices = [
    [2, 2],
    [2, 2],
  ];

  it("scales a matrix product on the way", async () => {
    const fn: Fn = (a, b) => tf.mul(tf.matMul(a!, b!), 0.25);
    await expectPass(fused, [fn, matrices], [["BatchMatMul", "Multiply"], ["BatchMatMul"]]);
  });

  it("fuses products of fused products", async () => {
    const fn: Fn = (a, b) => tf.mul(tf.matMul(tf.mul(tf.matMul(a!, b!), 0.25), b!), 4);
    const before = ["BatchMatMul", "Multiply", "BatchMatMul", "Multiply"];
    await expectPass(fused, [fn, matrices], [before, ["BatchMatMul", "BatchMatMul"]]);
  });

  it("leaves a product that something else takes, and a number that adds dimensions", async () => {
    const shared: Fn = (a, b) => {
      const product = tf.matMul(a!, b!);
      return [tf.mul(product, 0.25), product];
    };
    const both = ["BatchMatMul", "Multiply"];
    await expectPass(fused, [shared, matrices], [both, both]);
    const wider: Fn = (a, b) => tf.mul(tf.matMul(a!, b!), filled([1, 1, 1], 0.25));
    await expectPass(fused, [wider, matrices], [both, both]);
  });

  it("reads a transposed operand as it is", async () => {
    const both = (a: Tensor, b: Tensor) => tf.matMul(tf.transpose(a), tf.transpose(b));
    const [x, y] = [
      [4, 3],
      [5, 4],
    ];
    await expectPass(
      fused,
      [both, [x, y]],
      [["Transpose", "Transpose", "BatchMatMul"], ["BatchMatMul"]],
    );
    const again = (a: Tensor, b: Tensor) => tf.matMul(a, tf.transpose(b, [0, 2, 1]), false, true);
    const batched = [
      [2, 3, 4],
      [2, 4, 5],
    ];
    await expectPass(fused, [again, batched], [["Transpose", "BatchMatMul"], ["BatchMatMul"]]);
    // Moves the batch as well.
    const other = (a: Tensor, b: Tensor) => tf.matMul(a, tf.transpose(b, [2, 0, 1]));
    const moved = [
      [2, 3, 4],
      [4, 5, 2],
    ];
    const kept = ["Transpose", "BatchMatMul"];
    await expectPass(fused, [other, moved], [kept, kept]);
  });

  it("sums squares without making them", async () => {
    const graph = record((x) => tf.sum(tf.square(x!), 1), [[2, 4]]);
    expect(operations(fused(graph))).toEqual(["SumSquare"]);
    const [expected] = await execute(graph);
    const [actual] = await execute(fused(graph));
    expect(actual).toEqual(expected!.map((x) => expect.closeTo(x, 5))); // summed in another order
  });
});

it("repeats the passes until nothing is left to do", async () => {
  const fn: Fn = (x) => {
    const y = tf.mul(tf.add(x!, tf.zerosLike(x!)), tf.onesLike(x!));
    return tf.reshape(tf.reshape(tf.mul(tf.mul(y, 2), 0.5), [3, 2]), [6]);
  };
  expect(operations(optimize(record(fn, [[6]])))).toEqual([]);
});

it("prints a graph, one line a node", () => {
  const graph = record(
    (x, y) => ({
      sum: tf.add(tf.leakyRelu(x!, 0.5), tf.tensor1d([1, 2])),
      low: tf.add(y!, -Infinity),
    }),
    [[2], []],
  );
  expect(printGraph(graph).split("\n")).toEqual([
    "%0 float32[2] = input 0",
    "%1 float32[] = input 1",
    '%2 float32[2] = LeakyRelu(%0) {"alpha":0.5}',
    '%3 float32[2] = Constant() {"data":"2 values"}',
    "%4 float32[2] = Add(%2, %3)",
    '%5 float32[] = Fill() {"value":"-Infinity"}',
    "%6 float32[] = Add(%1, %5)",
    "output out:sum = %4",
    "output out:low = %6",
  ]);
});
