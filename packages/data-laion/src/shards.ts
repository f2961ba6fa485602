/**
 * WebDataset shards as a random-access dataset: the headers are walked once, for where each member lies, and an image
 * is then one positional read. So shards shuffle fully and resume exactly, like a folder.
 */
import { AlignTokError, listSome } from "@aligntok/core";
import { chunkSource, isGzip, openByteSource, openFile, readError } from "./byte-source.ts";
import { collectLabels, type ImageDataset, type ImageRecord, itemAt, iterable } from "./dataset.ts";
import { isImageName } from "./folder.ts";
import { groupMembers } from "./samples.ts";
import { type TarEntry, walkTar } from "./tar.ts";

export interface ShardOptions {
  /** Extension of the image within a sample, for samples with several: `seg.png`; in Parquet, the column. @default the first, jpg and png before others */
  readonly image?: string;
  /** What a shard that ends too early means: an error, or use of its whole samples. @default "raise" */
  readonly damaged?: "raise" | "keep";
  /** Most bytes that gzipped shards may take unpacked, since they are held in memory. @default 2 GiB */
  readonly mostUnpacked?: number;
}

/** Where the bytes of a member are. */
interface Place {
  readonly shard: Shard;
  readonly member: string;
  readonly offset: number;
  readonly size: number;
}

interface Shard {
  readonly path: string;
  /** The unpacked archive, where the shard is gzipped. */
  readonly unpacked?: Uint8Array;
}

interface IndexedSample {
  readonly key: string;
  readonly image: Place;
  readonly caption?: Place;
  readonly label?: number;
}

/**
 * Opens shards as one dataset, in the order given. `.cls` members are the labels and `.txt` members the captions;
 * samples without an image are passed over.
 *
 * @throws AlignTokError `bad-format` for a damaged shard, a duplicate extension, or a `.cls` that is no whole number;
 * `bad-input` when there is no image, or only some samples have a `.cls`; `not-found`, `io`, `unsupported`
 */
export async function openShards(
  paths: readonly string[],
  options: ShardOptions = {},
): Promise<ImageDataset> {
  const samples: IndexedSample[] = [];
  let unpackedSize = 0;
  for (const path of paths) {
    const shard = await openShard(path, (options.mostUnpacked ?? 2 ** 31) - unpackedSize);
    unpackedSize += shard.unpacked?.length ?? 0;
    samples.push(...(await indexShard(shard, options)));
  }
  if (samples.length === 0) {
    const wanted = options.image ? `.${options.image} members` : "images";
    throw new AlignTokError("bad-input", `${listSome(paths)}: expected ${wanted}, got none`);
  }
  const labels = collectLabels(
    samples.map(({ label }) => label),
    (i) => `${samples[i]!.image.shard.path}: ${samples[i]!.key}.cls`,
  );
  const hasCaptions = samples.some(({ caption }) => caption);
  return iterable({
    length: samples.length,
    keys: samples.map(({ key }) => key),
    ...(labels && { labels }),
    hasCaptions,
    async read(index): Promise<ImageRecord> {
      const { key, image, caption, label } = itemAt(samples, index);
      return {
        key,
        name: `${image.shard.path}: ${image.member}`,
        bytes: await readPlace(image),
        ...(label !== undefined && { label }),
        ...(hasCaptions && { caption: caption ? text(await readPlace(caption)) : "" }),
      };
    },
  });
}

async function indexShard(shard: Shard, options: ShardOptions): Promise<IndexedSample[]> {
  const source = shard.unpacked
    ? chunkSource([shard.unpacked], shard.path)
    : await openByteSource(shard.path);
  let cut = false;

  /** The files with the bytes of the labels among them, ended quietly at damage where that is wanted. */
  async function* entries(): AsyncGenerator<TarEntry & { readonly classText?: string }, void> {
    try {
      for await (const entry of walkTar(source)) {
        const isClass = entry.kind === "file" && /\.cls$/i.test(entry.name) && entry.size < 64;
        yield isClass ? { ...entry, classText: text(await entry.read()) } : entry;
      }
    } catch (error) {
      const damage = AlignTokError.isInstance(error) && error.code === "bad-format";
      if (!damage || options.damaged !== "keep") throw error;
      cut = true;
    }
  }

  const samples: IndexedSample[] = [];
  let last: string | undefined;
  for await (const { key, files } of groupMembers(entries(), shard.path)) {
    last = key;
    const extension = pickImage(key, files, options.image);
    if (extension === undefined) continue;
    const place = (name: string): Place | undefined => {
      const member = files.get(name);
      return member && { shard, member: member.name, offset: member.offset, size: member.size };
    };
    const caption = place("txt");
    const cls = files.get("cls");
    const label = cls && parseLabel(cls.classText, `${shard.path}: ${cls.name}`);
    samples.push({
      key,
      image: place(extension)!,
      ...(caption && { caption }),
      ...(label !== undefined && { label }),
    });
  }
  if (cut && samples.at(-1)?.key === last) samples.pop(); // the damage may have hit its other files
  return samples;
}

function parseLabel(classText = "a longer file", where: string): number {
  if (/^\d{1,9}$/.test(classText)) return Number(classText);
  throw new AlignTokError(
    "bad-format",
    `${where}: expected a class index in digits, got ${JSON.stringify(classText)}`,
  );
}

/** The extension of a sample's image; keys that end in `/` are hidden files, such as macOS's `._photo.jpg`. */
function pickImage(
  key: string,
  files: ReadonlyMap<string, unknown>,
  wanted: string | undefined,
): string | undefined {
  if (key.endsWith("/")) return undefined;
  if (wanted !== undefined)
    return files.has(wanted.toLowerCase()) ? wanted.toLowerCase() : undefined;
  const images = [...files.keys()].filter(isImageName);
  return ["jpg", "jpeg", "png"].find((extension) => images.includes(extension)) ?? images[0];
}

async function openShard(path: string, mostUnpacked: number): Promise<Shard> {
  const file = await openFile(path);
  let magic: Uint8Array;
  try {
    magic = (await file.read(new Uint8Array(2), 0, 2, 0)).buffer;
  } catch (error) {
    throw readError(path, error);
  } finally {
    await file.close();
  }
  if (!isGzip(magic)) return { path };
  const source = await openByteSource(path);
  try {
    const unpacked = await source.read(mostUnpacked + 1);
    if (unpacked.length > mostUnpacked) {
      throw new AlignTokError(
        "bad-input",
        `${path}: expected gzipped shards of at most ${mostUnpacked} bytes unpacked, got more. gunzip them first: plain shards are read in place`,
      );
    }
    return { path, unpacked };
  } finally {
    await source.close();
  }
}

async function readPlace({ shard, member, offset, size }: Place): Promise<Uint8Array> {
  if (shard.unpacked) return shard.unpacked.subarray(offset, offset + size);
  const file = await openFile(shard.path);
  try {
    const { bytesRead, buffer } = await file.read(new Uint8Array(size), 0, size, offset);
    if (bytesRead === size) return buffer;
    throw new AlignTokError(
      "bad-format",
      `${shard.path}: ${member}: expected ${size} bytes, got ${bytesRead}. the shard has changed since it was opened`,
    );
  } catch (error) {
    throw readError(shard.path, error);
  } finally {
    await file.close();
  }
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes).trim();
}
