import { AlignTokError, check, listSome } from "@aligntok/core";
import { expect, test } from "vitest";

test("an error keeps its code, message and cause", () => {
  const cause = new Error("disk");
  const error = new AlignTokError("io", "model.safetensors: cannot be written", { cause });
  expect(error).toMatchObject({ name: "AlignTokError", code: "io", cause });
  expect(error).toBeInstanceOf(Error);
});

test("errors of another copy of the package are recognised, other things are not", () => {
  const foreign = Object.assign(new Error("other copy"), {
    code: "bad-input",
    [Symbol.for("@aligntok/error")]: true,
  });
  expect(AlignTokError.isInstance(foreign)).toBe(true);
  expect(AlignTokError.isInstance(new AlignTokError("bad-input", "x"))).toBe(true);
  for (const other of [new Error("x"), undefined, null, "io", { code: "io" }]) {
    expect(AlignTokError.isInstance(other)).toBe(false);
  }
});

test("check throws bad-input and computes its message only then", () => {
  let computed = 0;
  const message = () => `width: expected 3, got ${++computed}`;
  check(true, message);
  expect(computed).toBe(0);
  expect(() => check(0, message)).toThrow("width: expected 3, got 1");
  try {
    check(false, "height");
  } catch (error) {
    expect(error).toMatchObject({ code: "bad-input", message: "height" });
  }
});

test("long lists are cut", () => {
  expect(listSome(["a", "b"])).toBe("a, b");
  expect(listSome([..."abcdefgh"])).toBe("a, b, c, d, e and 3 more");
  expect(listSome([..."abc"], 1)).toBe("a and 2 more");
  expect(listSome([])).toBe("");
});
