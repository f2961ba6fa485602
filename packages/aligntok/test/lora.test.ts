import { createRandom } from "@aligntok/core";
import { describe, expect, it } from "vitest";
import { applyLora, initLora, mergeLora } from "../src/index.ts";
import { expectAllNear, parts, readGolden, toTensors } from "./golden.ts";

const weights = parts(await readGolden("weights"), ["encoder", "adapter"]);
const random = () => createRandom(0, "lora");

describe("low-rank factors", () => {
  it("are named as peft's, for every linear layer of the blocks or the targets alone", () => {
    const all = initLora({ rank: 2 }, weights, random());
    expect(Object.keys(all)).toHaveLength(2 * 4 * 2);
    expect(all["encoder.blocks.0.mlp.fc1.lora_A.weight"]!.shape).toEqual([2, 8]);
    expect(all["encoder.blocks.0.mlp.fc1.lora_B.weight"]!.shape).toEqual([16, 2]);
    const some = initLora({ rank: 2, targets: ["qkv", "mlp.fc2"] }, weights, random());
    expect([...new Set(Object.keys(some).map((key) => key.split(".lora_")[0]))]).toEqual([
      "encoder.blocks.0.attn.qkv",
      "encoder.blocks.0.mlp.fc2",
      "encoder.blocks.1.attn.qkv",
      "encoder.blocks.1.mlp.fc2",
    ]);
  });

  it("change nothing before they are trained", () => {
    const factors = initLora({ rank: 2 }, weights, random());
    expect(mergeLora({}, { ...weights, ...factors })).toEqual(weights);
    const a = factors["encoder.blocks.0.attn.qkv.lora_A.weight"]!.data;
    expect(Math.max(...a.map(Math.abs))).toBeGreaterThan(0.1); // B is zero, A is not
  });

  it("merge alike in the graph and on the host", () => {
    const lora = { rank: 2, alpha: 3 };
    const factors = initLora(lora, weights, random());
    for (const { data } of Object.values(factors)) data.set(random().normals(data.length));
    const merged = mergeLora(lora, { ...weights, ...factors });
    expectAllNear(
      applyLora(lora, toTensors({ ...weights, ...factors })) as ReturnType<typeof toTensors>,
      merged,
      1e-5,
    );
    const [qkv, untouched] = ["encoder.blocks.0.attn.qkv.weight", "encoder.norm.weight"];
    expect(merged[qkv!]!.data).not.toEqual(weights[qkv!]!.data);
    expect(merged[untouched!]!.data).toEqual(weights[untouched!]!.data);
  });

  it("say which target is no layer", () => {
    expect(() => initLora({ targets: ["query"] }, weights, random())).toThrow(
      /lora target: expected the end of the name of a linear layer.*got query. layers are named as encoder\.blocks\.0\.attn\.proj/,
    );
    expect(() => initLora({ rank: 0 }, weights, random())).toThrow(/lora rank: expected/);
  });
});
