/** A state dictionary as `torch.save` writes it: a zip of a pickle (protocol 2) and a file for each storage. */
import { writeFile } from "node:fs/promises";
import { crc32 } from "node:zlib";

type Tensors = Readonly<
  Record<string, { readonly shape: readonly number[]; readonly data: Float32Array }>
>;

/** Writes float32 tensors as a `.pth` file of less than 4 GiB. */
export async function writePytorch(path: string, tensors: Tensors): Promise<void> {
  const entries = Object.entries(tensors);
  const files = entries.map(([, { data }], i) => ({
    name: `archive/data/${i}`,
    bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
  }));
  const pickle = { name: "archive/data.pkl", bytes: stateDictionary(entries) };
  const version = { name: "archive/version", bytes: ascii("3\n") };
  await writeFile(path, storedZip([pickle, ...files, version]));
}

const ascii = (text: string) => Buffer.from(text, "latin1");
const global = (module: string, name: string) => ascii(`c${module}\n${name}\n`);
const emptyDictionary = Buffer.concat([global("collections", "OrderedDict"), ascii(")R")]);

function unicode(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([ascii("X"), uint32(bytes.length), bytes]);
}

const whole = (n: number) => Buffer.concat([ascii("J"), uint32(n)]);
const tuple = (values: readonly number[]) =>
  Buffer.concat([ascii("("), ...values.map(whole), ascii("t")]);

function stateDictionary(entries: readonly (readonly [string, Tensors[string]])[]): Buffer {
  const items = entries.flatMap(([name, { data, shape }], i) => {
    const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1));
    return [
      unicode(name),
      ...[global("torch._utils", "_rebuild_tensor_v2"), ascii("((")],
      ...[unicode("storage"), global("torch", "FloatStorage"), unicode(String(i)), unicode("cpu")],
      ...[whole(data.length), ascii("tQ"), whole(0), tuple(shape), tuple(strides)],
      ...[Buffer.of(0x89), emptyDictionary, ascii("tR")],
    ];
  });
  return Buffer.concat([Buffer.of(0x80, 2), emptyDictionary, ascii("("), ...items, ascii("u.")]);
}

/** Members uncompressed, at multiples of 64 bytes as PyTorch lays them. */
function storedZip(
  files: readonly { readonly name: string; readonly bytes: Uint8Array }[],
): Buffer {
  const parts: Uint8Array[] = [];
  const directory: Buffer[] = [];
  let at = 0;
  for (const { name, bytes } of files) {
    const padding = (64 - ((at + 30 + name.length) % 64)) % 64;
    const shared = Buffer.concat([
      ...[uint16(20), uint16(0), uint16(0), uint32(0), uint32(crc32(bytes))],
      ...[uint32(bytes.length), uint32(bytes.length), uint16(name.length)],
    ]);
    const header = Buffer.concat([uint32(0x04034b50), shared, uint16(padding), ascii(name)]);
    directory.push(
      Buffer.concat([
        uint32(0x02014b50),
        uint16(20),
        shared,
        Buffer.alloc(12),
        uint32(at),
        ascii(name),
      ]),
    );
    parts.push(header, Buffer.alloc(padding), bytes);
    at += header.length + padding + bytes.length;
  }
  const list = Buffer.concat(directory);
  const count = Buffer.concat([uint16(files.length), uint16(files.length)]);
  const end = [uint32(0x06054b50), uint32(0), count, uint32(list.length), uint32(at), uint16(0)];
  return Buffer.concat([...parts, list, ...end]);
}

function uint16(n: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(n);
  return bytes;
}

function uint32(n: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(n);
  return bytes;
}
