import { expect, it } from "vitest";
import { createMessage } from "../src/protobuf.ts";

// Expected bytes: the examples of https://protobuf.dev/programming-guides/encoding/.
it("writes the examples of the format's own documentation", () => {
  expect(hex(createMessage().int(1, 150))).toBe("089601");
  expect(hex(createMessage().string(2, "testing"))).toBe("120774657374696e67");
  expect(hex(createMessage().message(3, createMessage().int(1, 150)))).toBe("1a03089601");
  expect(hex(createMessage().ints(6, [3, 270, 86942]))).toBe("3206038e029ea705");
  expect(hex(createMessage().int(1, -2))).toBe("08feffffffffffffffff01");
});

it("writes floats, zeros, large field numbers and bytes", () => {
  expect(hex(createMessage().float(2, 1))).toBe("150000803f");
  expect(hex(createMessage().int(1, 0))).toBe("0800");
  expect(hex(createMessage().int(20, 7))).toBe("a00107");
  expect(hex(createMessage().bytes(9, Uint8Array.of(255, 0)))).toBe("4a02ff00");
  expect(hex(createMessage().ints(1, []))).toBe("0a00");
  expect(hex(createMessage().int(1, 2 ** 40))).toBe("08808080808020");
});

it("keeps the order of fields and says its size", () => {
  const message = createMessage().int(1, 1).string(2, "é").message(3, createMessage());
  expect(hex(message)).toBe("08011202c3a91a00");
  expect(message.size).toBe(8);
});

const hex = (message: ReturnType<typeof createMessage>) =>
  Buffer.from(message.finish()).toString("hex");
