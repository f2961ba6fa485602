/**
 * One 512-byte tar header block: V7, ustar, GNU and pax (POSIX.1-2001, "pax Interchange Format").
 *
 * Only what a reader needs is decoded: name, kind, size, checksum. Owner, mode and times are ignored.
 */
import { AlignTokError } from "@aligntok/core";

export const blockSize = 512;

export type TarKind = "file" | "directory" | "other";

/** What a header block says about the bytes that follow it. */
export interface TarHeader {
  readonly name: string;
  readonly size: number;
  /** `long-name`, `pax` and `pax-global` describe the next member instead of being one. */
  readonly kind: TarKind | "long-name" | "long-link" | "pax" | "pax-global" | "sparse";
}

const utf8 = new TextDecoder();

/**
 * Decodes a header block, or gives undefined for a block of zeros, which ends an archive.
 *
 * @param where file and byte offset, for the message
 * @throws AlignTokError `bad-format` on a wrong checksum or an impossible size
 */
export function parseTarHeader(block: Uint8Array, where: string): TarHeader | undefined {
  const sum = checksum(block);
  if (sum.unsigned === 8 * 32 && block.every((byte) => byte === 0)) return undefined;
  const stored = readNumber(block, 148, 8);
  // some historic writers summed signed bytes
  if (stored !== sum.unsigned && stored !== sum.signed) {
    throw new AlignTokError(
      "bad-format",
      `${where}: expected a tar header with checksum ${sum.unsigned}, got ${stored}. the file is damaged or not a tar`,
    );
  }
  const size = readNumber(block, 124, 12);
  if (!Number.isSafeInteger(size) || size < 0) {
    throw new AlignTokError("bad-format", `${where}: expected a size in bytes, got ${size}`);
  }
  // The prefix field belongs to POSIX ustar only; old GNU headers keep times there.
  const posix = readText(block, 257, 6) === "ustar" && block[262] === 0;
  const prefix = posix ? readText(block, 345, 155) : "";
  const name = readText(block, 0, 100);
  const type = String.fromCharCode(block[156]!);
  return {
    name: prefix ? `${prefix}/${name}` : name,
    size,
    kind: kindOf(type, name),
  };
}

function kindOf(type: string, name: string): TarHeader["kind"] {
  switch (type) {
    case "\0": // V7, where a trailing slash marks a directory
      return name.endsWith("/") ? "directory" : "file";
    case "0":
    case "7":
      return "file";
    case "5":
      return "directory";
    case "L":
      return "long-name";
    case "K":
      return "long-link";
    case "x":
    case "X":
      return "pax";
    case "g":
      return "pax-global";
    case "S":
      return "sparse";
    default:
      return "other";
  }
}

/** Whether a member of that kind is followed by `size` bytes: links and devices may state a size without any. */
export function hasBody(block: Uint8Array): boolean {
  return !"123456".includes(String.fromCharCode(block[156]!));
}

/** The sum of the bytes of a block, with its checksum field counted as spaces. */
function checksum(block: Uint8Array): { readonly unsigned: number; readonly signed: number } {
  let unsigned = 8 * 32;
  let signed = unsigned;
  for (let i = 0; i < blockSize; i++) {
    if (i >= 148 && i < 156) continue;
    unsigned += block[i]!;
    signed += (block[i]! << 24) >> 24;
  }
  return { unsigned, signed };
}

/** The text of a field up to its first NUL. */
export function readText(block: Uint8Array, start: number, length: number): string {
  const field = block.subarray(start, start + length);
  const end = field.indexOf(0);
  return utf8.decode(end < 0 ? field : field.subarray(0, end));
}

/** An octal number in text, or with the first bit set a big-endian two's complement number (GNU); NaN when neither. */
function readNumber(block: Uint8Array, start: number, length: number): number {
  const first = block[start]!;
  if (first & 0x80) {
    let value = first & 0x40 ? (first & 0x7f) - 0x80 : first & 0x7f;
    for (let i = 1; i < length; i++) value = value * 256 + block[start + i]!;
    return value;
  }
  const text = readText(block, start, length).trim();
  if (text === "") return 0;
  return /^[0-7]+$/.test(text) ? Number.parseInt(text, 8) : Number.NaN;
}

/**
 * The records of a pax header, `LENGTH KEY=VALUE\n` each, LENGTH counting itself.
 *
 * @throws AlignTokError `bad-format`
 */
export function parsePax(body: Uint8Array, where: string): Map<string, string> {
  const records = new Map<string, string>();
  for (let at = 0; at < body.length && body[at] !== 0; ) {
    const space = body.indexOf(0x20, at);
    const length = space < 0 ? Number.NaN : Number(utf8.decode(body.subarray(at, space)));
    const equals = body.indexOf(0x3d, space);
    const end = at + length;
    const sound =
      Number.isInteger(length) && equals > space && equals < end && body[end - 1] === 0x0a;
    if (!sound) {
      throw new AlignTokError(
        "bad-format",
        `${where}: expected pax records "LENGTH KEY=VALUE", got something else at byte ${at}. the file is damaged`,
      );
    }
    records.set(
      utf8.decode(body.subarray(space + 1, equals)),
      utf8.decode(body.subarray(equals + 1, end - 1)),
    );
    at = end;
  }
  return records;
}
