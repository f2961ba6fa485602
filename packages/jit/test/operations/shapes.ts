/** Operations that move, repeat, leave out or make elements. */
import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import {
  integers,
  length,
  narrowed,
  type Operation,
  one,
  operation,
  shape,
  truths,
  withAxis,
} from "./operation.ts";

type Margins = [number, number][];

/** A shape with margins for every axis: of up to 3, or less than the axis by `spare`. */
const margins = (spare?: number) =>
  shape(1, 4).chain((x) =>
    fc
      .tuple(
        ...x.map((n) => {
          const max = spare === undefined ? 3 : Math.min(3, n - spare);
          return fc.tuple(fc.integer({ min: 0, max }), fc.integer({ min: 0, max }));
        }),
      )
      .map((paddings) => ({ shapes: [x], options: { paddings: paddings as Margins } })),
  );

/** Shapes that are equal but for one axis. */
const joined = shape().chain((x) =>
  fc
    .tuple(fc.nat(x.length - 1), fc.array(length, { minLength: 1, maxLength: 4 }))
    .map(([axis, sizes]) => ({
      shapes: sizes.map((size) => x.with(axis, size)),
      options: { axis },
    })),
);

/** A part of every axis: where it begins and how long it is, -1 for up to the end. */
const part = shape().chain((x) =>
  fc
    .tuple(
      ...x.map((n) =>
        fc
          .nat(n - 1)
          .chain((begin) =>
            fc.tuple(
              fc.constant(begin),
              fc.oneof(fc.constant(-1), fc.integer({ min: 1, max: n - begin })),
            ),
          ),
      ),
    )
    .map((ranges) => ({
      shapes: [x],
      options: { begin: ranges.map(([begin]) => begin), size: ranges.map(([, size]) => size) },
    })),
);

/** Steps of every axis, forwards and backwards, with some ends left to masks. */
const strided = shape(1, 3).chain((x) =>
  fc
    .tuple(
      ...x.map((n) =>
        fc.record({
          begin: fc.integer({ min: -n, max: n - 1 }),
          step: fc.constantFrom(1, 2, 3, -1, -2),
          count: fc.integer({ min: 1, max: 3 }),
        }),
      ),
      fc.nat(7),
      fc.nat(7),
      fc.nat(1),
    )
    .map((drawn) => {
      const [beginMask, endMask, newAxis] = drawn.slice(-3) as [number, number, number];
      const axes = (drawn.slice(0, -3) as { begin: number; step: number; count: number }[]).map(
        ({ begin, step, count }, i) => {
          // Backwards never from the first element, nor to before it, which has no number of its own.
          const start = (begin + x[i]!) % x[i]!;
          const stride = start === 0 ? Math.abs(step) : step;
          return { start, stride, end: Math.max(0, start + stride * count) };
        },
      );
      return {
        shapes: [x],
        options: {
          // A new axis before the others, or none.
          begin: [...(newAxis ? [0] : []), ...axes.map(({ start }) => start)],
          end: [...(newAxis ? [0] : []), ...axes.map(({ end }) => end)],
          strides: [...(newAxis ? [1] : []), ...axes.map(({ stride }) => stride)],
          beginMask: (beginMask % 2 ** x.length) << newAxis,
          endMask: (endMask % 2 ** x.length) << newAxis,
          ellipsisMask: 0,
          newAxisMask: newAxis,
        },
      };
    }),
);

const along = (
  name: string,
  kernel: string,
  call: (x: Tensor, axis: number) => Tensor | Tensor[],
) =>
  operation({
    name: `tf.${name}`,
    kernels: [kernel],
    draw: withAxis,
    call: ([x], { axis }) => call(x!, axis),
  });

const flat = { gradient: false } as const;

export const shapes: readonly Operation[] = [
  operation({ name: "tf.clone", kernels: ["Identity"], draw: one, call: ([x]) => tf.clone(x!) }),
  operation({
    name: "tf.reshape",
    kernels: ["Reshape"],
    draw: shape().chain((x) =>
      fc.record({
        shapes: fc.constant([x]),
        options: fc.constantFrom([-1], [1, -1], x.toReversed(), [...x, 1]),
      }),
    ),
    call: ([x], to) => tf.reshape(x!, to),
  }),
  along("expandDims", "ExpandDims", (x, axis) => tf.expandDims(x, axis)),
  operation({
    name: "tf.squeeze",
    kernels: ["Reshape"],
    draw: shape().map((x) => ({ shapes: [[1, ...x, 1]], options: undefined })),
    call: ([x]) => tf.squeeze(x!),
  }),
  operation({
    name: "tf.transpose",
    kernels: ["Transpose"],
    draw: shape().chain((x) =>
      fc
        .shuffledSubarray(
          x.map((_, i) => i),
          { minLength: x.length },
        )
        .map((perm) => ({ shapes: [x], options: { perm } })),
    ),
    call: ([x], { perm }) => tf.transpose(x!, perm),
  }),
  operation({
    name: "tf.concat",
    kernels: ["Concat"],
    draw: joined,
    call: (xs, { axis }) => tf.concat([...xs], axis),
  }),
  operation({
    name: "tf.split",
    kernels: ["SplitV"],
    draw: joined.map(({ shapes, options: { axis } }) => {
      const sizes = shapes.map((x) => x[axis]!);
      const total = sizes.reduce((sum, n) => sum + n, 0);
      return { shapes: [shapes[0]!.with(axis, total)], options: { axis, sizes } };
    }),
    call: ([x], { axis, sizes }) => tf.split(x!, sizes, axis),
  }),
  operation({
    name: "tf.stack",
    kernels: ["Pack"],
    draw: fc.tuple(withAxis, fc.integer({ min: 1, max: 4 })).map(([{ shapes, options }, n]) => ({
      shapes: Array.from({ length: n }, () => shapes[0]!),
      options,
    })),
    call: (xs, { axis }) => tf.stack([...xs], axis),
  }),
  along("unstack", "Unpack", (x, axis) => tf.unstack(x, axis)),
  operation({
    name: "tf.slice",
    kernels: ["Slice"],
    draw: part,
    call: ([x], { begin, size }) => tf.slice(x!, begin, size),
  }),
  operation({
    name: "tf.stridedSlice",
    kernels: ["StridedSlice"],
    draw: strided,
    call: ([x], { begin, end, strides, beginMask, endMask, ellipsisMask, newAxisMask }) =>
      tf.stridedSlice(x!, begin, end, strides, beginMask, endMask, ellipsisMask, newAxisMask),
  }),
  operation({
    name: "tf.pad",
    kernels: ["PadV2"],
    draw: margins(),
    call: ([x], { paddings }) => tf.pad(x!, paddings, 0.5),
  }),
  operation({
    name: "tf.pad of integers",
    kernels: ["PadV2"],
    draw: margins(),
    domain: integers,
    call: ([x], { paddings }) => tf.pad(x!, paddings, 2),
    ...flat,
  }),
  operation({
    name: "tf.mirrorPad reflect",
    kernels: ["MirrorPad"],
    draw: margins(1),
    call: ([x], { paddings }) => tf.mirrorPad(x!, paddings, "reflect"),
  }),
  operation({
    name: "tf.mirrorPad symmetric",
    kernels: ["MirrorPad"],
    draw: margins(0),
    call: ([x], { paddings }) => tf.mirrorPad(x!, paddings, "symmetric"),
  }),
  operation({
    name: "tf.tile",
    kernels: ["Tile"],
    draw: shape().chain((x) =>
      fc.tuple(...x.map(() => fc.integer({ min: 1, max: 3 }))).map((reps) => ({
        shapes: [x],
        options: { reps },
      })),
    ),
    call: ([x], { reps }) => tf.tile(x!, reps),
  }),
  operation({
    name: "tf.broadcastTo",
    kernels: ["Tile"],
    draw: shape().chain((to) => narrowed(to).map((x) => ({ shapes: [x], options: { to } }))),
    call: ([x], { to }) => tf.broadcastTo(x!, to),
  }),
  operation({
    name: "tf.tile of truth values",
    kernels: ["Tile"],
    draw: one,
    domain: truths,
    call: ([x]) =>
      tf.tile(
        x!,
        x!.shape.map(() => 2),
      ),
    ...flat,
  }),
  along("reverse", "Reverse", (x, axis) => tf.reverse(x, axis)),
  operation({
    name: "tf.reverse of all axes",
    kernels: ["Reverse"],
    draw: one,
    call: ([x]) => tf.reverse(x!),
  }),
  operation({
    name: "tf.fill, zeros, ones",
    kernels: ["Fill"],
    draw: one,
    call: ([x]) => [tf.fill(x!.shape, 0.5), tf.zeros(x!.shape, "int32"), tf.ones(x!.shape, "bool")],
    ...flat,
  }),
  operation({
    name: "tf.tensor",
    kernels: ["Constant"],
    draw: one,
    call: ([x]) =>
      tf.mul(
        x!,
        tf.tensor(
          Array.from({ length: x!.size }, (_, i) => i / 7),
          x!.shape,
        ),
      ),
  }),
  operation({
    name: "tf.range",
    kernels: ["Range"],
    draw: fc.record({
      shapes: fc.constant([]),
      options: fc.constantFrom(
        [0, 5, 1, "int32"] as const,
        [3, -4, -2, "int32"] as const,
        [0.5, 3, 0.4, "float32"] as const,
        [2, 2, 1, "float32"] as const,
      ),
    }),
    call: (_, [start, stop, step, dtype]) => tf.range(start, stop, step, dtype),
    ...flat,
  }),
  operation({
    name: "tf.linspace",
    kernels: ["LinSpace"],
    draw: fc.record({ shapes: fc.constant([]), options: fc.integer({ min: 1, max: 7 }) }),
    call: (_, count) => tf.linspace(-1, 2, count),
    ...flat,
  }),
  operation({
    name: "tf.eye",
    kernels: ["Constant"],
    draw: fc.record({ shapes: fc.constant([]), options: length }),
    call: (_, n) => tf.eye(n),
    ...flat,
  }),
  operation({
    name: "tf.linalg.bandPart",
    kernels: ["Select", "Range"],
    draw: fc
      .tuple(shape(2, 3), fc.integer({ min: -1, max: 2 }), fc.integer({ min: -1, max: 2 }))
      .map(([x, lower, upper]) => ({
        shapes: [x],
        options: { lower: Math.min(lower, x.at(-2)!), upper: Math.min(upper, x.at(-1)!) },
      })),
    call: ([x], { lower, upper }) => tf.linalg.bandPart(x!, lower, upper),
  }),
];
