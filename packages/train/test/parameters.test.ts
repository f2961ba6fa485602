import { ndarray } from "@aligntok/core";
import { describe, expect, it } from "vitest";
import {
  assignParameters,
  flattenParameters,
  selectParameters,
  splitParameters,
  zerosLike,
} from "../src/index.ts";

const params = {
  "blocks.1.weight": ndarray(Float32Array.of(1, 2, 3, 4, 5, 6), [2, 3]),
  "blocks.10.weight": ndarray(Float32Array.of(7), []),
  head: ndarray(Float32Array.of(8, 9), [2]),
};

describe("flattenParameters", () => {
  it("lays parameters end to end under their names and shapes", () => {
    const flattened = flattenParameters(params);
    expect([...flattened.flat]).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(flattened.names).toEqual(Object.keys(params));
    expect(flattened.offsets).toEqual([0, 6, 7, 9]);
    expect(flattened.views["blocks.1.weight"]!.shape).toEqual([2, 3]);
    flattened.views.head!.data[1] = 90;
    expect(flattened.flat[8]).toBe(90);
    expect(params.head.data[1]).toBe(9); // the source is copied
  });

  it("gives a zero buffer of the same layout", () => {
    const buffer = zerosLike(flattenParameters(params));
    buffer.views["blocks.10.weight"]!.data[0] = 5;
    expect([...buffer.flat]).toEqual([0, 0, 0, 0, 0, 0, 5, 0, 0]);
  });

  it("refuses what is not float32 or does not fit its shape", () => {
    const half = { dtype: "float16", shape: [1], data: new Uint16Array(1) };
    expect(() => flattenParameters({ a: half } as never)).toThrow(/parameter a: expected float32/);
    const short = { dtype: "float32", shape: [3], data: new Float32Array(2) } as const;
    expect(() => flattenParameters({ a: short })).toThrow(/expected float32 with 3 elements/);
  });
});

describe("splitParameters", () => {
  it("takes prefixes as whole dotted parts", () => {
    const { trainable, frozen } = splitParameters(params, ["blocks.1"]);
    expect(Object.keys(trainable)).toEqual(["blocks.1.weight"]);
    expect(Object.keys(frozen)).toEqual(["blocks.10.weight", "head"]);
    expect(trainable["blocks.1.weight"]).toBe(params["blocks.1.weight"]);
    expect(Object.keys(selectParameters(params, ["blocks.", "head"]))).toHaveLength(3);
    expect(Object.keys(selectParameters(params, [""]))).toHaveLength(3);
    expect(Object.keys(selectParameters(params, []))).toHaveLength(0);
  });

  it("refuses a prefix that holds nothing", () => {
    expect(() => splitParameters(params, ["hea"])).toThrow(/prefix hea: expected at least one/);
  });
});

describe("assignParameters", () => {
  it("copies by name, whatever the order, and refuses what does not fit", () => {
    const target = zerosLike(flattenParameters(params));
    assignParameters(target, Object.fromEntries(Object.entries(params).reverse()));
    expect([...target.flat]).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(() => assignParameters(target, {})).toThrow(/parameter blocks.1.weight: .* got none/);
    const reshaped = { ...params, head: ndarray(new Float32Array(2), [1, 2]) };
    expect(() => assignParameters(target, reshaped)).toThrow(/head: .*\[2\], got float32 \[1,2\]/);
  });
});
