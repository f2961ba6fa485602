/**
 * Images in Parquet tables, as Hugging Face's datasets publish them: one row an image, the file's bytes in a column.
 *
 * The bytes of a row lie in a row group, which can only be read as a whole; those read last are held, within bounds.
 */
import { AlignTokError, listSome } from "@aligntok/core";
import {
  type AsyncBuffer,
  type FileMetaData,
  parquetMetadataAsync,
  parquetReadObjects,
} from "hyparquet";
import { compressors } from "hyparquet-compressors";
import { openFile, readError } from "./byte-source.ts";
import { collectLabels, type ImageDataset, itemAt, iterable } from "./dataset.ts";
import { findColumns, type ImageColumns, withoutBytes } from "./parquet-columns.ts";

/** Bytes of row groups that are held, and the largest one that is read. */
const heldBytes = 256 * 2 ** 20;
const mostBytes = 2 ** 31 - 1;

export interface ParquetOptions {
  /** Name of the column of images. @default found by its type and name */
  readonly image?: string;
}

interface Table {
  readonly path: string;
  readonly file: AsyncBuffer;
  readonly metadata: FileMetaData;
  readonly columns: ImageColumns;
}

interface RowGroup {
  readonly table: Table;
  /** Of its first row in the table. */
  readonly start: number;
  readonly rows: number;
  /** Of the column of images, unpacked. */
  readonly bytes: number;
}

type Row = Readonly<Record<string, unknown>>;

/**
 * The images of Parquet files, in the order of their rows. The column of images is a struct `{bytes, path}` or binary;
 * a column `label` (whole numbers, or names) gives classes, `text` or `caption` captions, and `key`, `id` or the
 * image's path keys; otherwise the number of the row is its key.
 *
 * Reading in order is quick. In another order, each image may cost the reading of its whole row group (Hugging Face
 * writes 100 rows to a group).
 *
 * @throws AlignTokError `bad-format` for a damaged file, `bad-input` for a table without images, `not-found`, `io`;
 * reading throws `bad-format` for a row without bytes
 */
export async function openParquet(
  paths: readonly string[],
  options: ParquetOptions = {},
): Promise<ImageDataset> {
  const tables: Table[] = [];
  const groups: RowGroup[] = [];
  const facts: Row[] = [];
  for (const path of paths) {
    const table = await openTable(path, options.image);
    tables.push(table);
    groups.push(...listGroups(table));
    facts.push(...(await readFacts(table)));
  }
  if (facts.length === 0) {
    throw new AlignTokError("bad-input", `${listSome(paths)}: expected images, got no rows`);
  }
  const keys = nameRows(facts);
  const { labels, classes } = labelRows(facts, keys, tables[0]!.columns.classes);
  const hasCaptions = tables.some(({ columns }) => columns.caption !== undefined);
  const places = groups.flatMap((group) =>
    Array.from({ length: group.rows }, (_, row) => ({ group, row })),
  );
  const load = createGroupReader();
  return iterable({
    length: facts.length,
    keys,
    ...(labels && { labels }),
    ...(classes && { classes }),
    hasCaptions,
    async read(index) {
      const { group, row } = itemAt(places, index);
      const { path, columns } = group.table;
      const name = `${path}: row ${group.start + row}`;
      const value = (await load(group))[row]?.[columns.image];
      const bytes = columns.isStruct ? (value as Row | undefined)?.bytes : value;
      if (!(bytes instanceof Uint8Array)) {
        throw new AlignTokError(
          "bad-format",
          `${name}: expected bytes in column ${columns.image}, got none. images that are only linked are not fetched`,
        );
      }
      return {
        key: keys[index]!,
        name,
        bytes: Uint8Array.from(bytes), // a view would keep the row group in memory
        ...(labels && { label: labels[index]! }),
        ...(hasCaptions && { caption: String(facts[index]!.caption ?? "") }),
      };
    },
  });
}

async function openTable(path: string, wanted: string | undefined): Promise<Table> {
  const handle = await openFile(path);
  const { size } = await handle.stat().finally(() => handle.close());
  const file: AsyncBuffer = {
    byteLength: size,
    slice: (start, end = size) => readRange(path, start, end),
  };
  const metadata = await parse(path, () => parquetMetadataAsync(file));
  const columns = findColumns(metadata, path, wanted);
  return { path, file, metadata, columns };
}

async function readRange(path: string, start: number, end: number): Promise<ArrayBuffer> {
  const file = await openFile(path);
  try {
    const { size } = await file.stat();
    if (!(start >= 0 && start <= end && end <= size)) {
      throw new AlignTokError(
        "bad-format",
        `${path}: expected ${size} bytes to hold bytes ${start} to ${end}. the file is damaged or cut short`,
      );
    }
    const bytes = new Uint8Array(end - start);
    for (let done = 0; done < bytes.length; ) {
      const { bytesRead } = await file.read(bytes, done, bytes.length - done, start + done);
      if (bytesRead === 0)
        throw new AlignTokError("bad-format", `${path}: expected ${end} bytes, got fewer`);
      done += bytesRead;
    }
    return bytes.buffer;
  } catch (error) {
    throw readError(path, error);
  } finally {
    await file.close();
  }
}

function listGroups(table: Table): RowGroup[] {
  let start = 0;
  return table.metadata.row_groups.map((group) => {
    const rows = Number(group.num_rows);
    const chunks = group.columns.filter(
      ({ meta_data }) => meta_data?.path_in_schema[0] === table.columns.image,
    );
    const bytes = chunks.reduce(
      (sum, { meta_data }) => sum + Number(meta_data?.total_uncompressed_size ?? 0),
      0,
    );
    start += rows;
    return { table, start: start - rows, rows, bytes };
  });
}

/** Key, label and caption of every row, without the images. */
async function readFacts({ path, file, metadata, columns }: Table): Promise<Row[]> {
  const { image, key, label, caption } = columns;
  const names = [key, label, caption].filter((name) => name !== undefined);
  if (columns.isStruct && columns.hasPath) names.push(image);
  const count = Number(metadata.num_rows);
  const total = metadata.row_groups.reduce((sum, group) => sum + Number(group.num_rows), 0);
  // a row takes some bytes, so a false count cannot make this allocate more than the file is worth
  if (count !== total || !(count >= 0 && count <= file.byteLength * 1000)) {
    throw new AlignTokError(
      "bad-format",
      `${path}: expected ${total} rows, got ${count}. the file is damaged`,
    );
  }
  if (names.length === 0) return Array.from({ length: count }, () => ({}));
  const slim = columns.isStruct ? withoutBytes(metadata, image) : metadata;
  const rows = await parse(path, () =>
    parquetReadObjects({ file, metadata: slim, columns: names, compressors, utf8: false }),
  );
  return rows.map((row) => ({
    key: (key && row[key]) ?? (row[image] as Row | null | undefined)?.path,
    label: label && row[label],
    caption: caption && row[caption],
  }));
}

/** Keys of the table where every row has its own, otherwise the numbers of the rows. */
function nameRows(facts: readonly Row[]): string[] {
  const named = facts.map(({ key }) => (key == null || key === "" ? undefined : String(key)));
  const distinct = new Set(named);
  const digits = String(facts.length - 1).length;
  return distinct.size === facts.length && !distinct.has(undefined)
    ? (named as string[])
    : facts.map((_, i) => String(i).padStart(digits, "0"));
}

/** Class indices; names of classes are numbered in sorted order, and -1 throughout is Hugging Face's "unknown". */
function labelRows(
  facts: readonly Row[],
  keys: readonly string[],
  known?: readonly string[],
): { readonly labels?: Int32Array; readonly classes?: readonly string[] } {
  const values = facts.map(({ label }) => (typeof label === "bigint" ? Number(label) : label));
  if (values.every((label) => label === -1)) return {};
  const names = [...new Set(values.filter((label) => typeof label === "string"))].sort();
  const classes = names.length > 0 ? names : known;
  const numbers = values.map((label) =>
    typeof label === "string" ? names.indexOf(label) : ((label ?? undefined) as number | undefined),
  );
  const labels = collectLabels(numbers, (i) => keys[i]!, classes?.length);
  return labels ? { labels, ...(classes && { classes }) } : {};
}

/** Reads row groups, one at a time, and holds those used last. */
function createGroupReader(): (group: RowGroup) => Promise<readonly Row[]> {
  const held = new Map<RowGroup, Promise<readonly Row[]>>(); // least recently used first
  let turn: Promise<unknown> = Promise.resolve();

  function makeRoom(): void {
    let total = [...held.keys()].reduce((sum, { bytes }) => sum + bytes, 0);
    for (const group of held.keys()) {
      if (total <= heldBytes || held.size === 1) return;
      held.delete(group);
      total -= group.bytes;
    }
  }

  return (group) => {
    const rows = held.get(group) ?? turn.then(() => readGroup(group));
    turn = rows.catch(() => held.get(group) === rows && held.delete(group));
    held.delete(group);
    held.set(group, rows);
    makeRoom();
    return rows;
  };
}

async function readGroup({ table, start, rows, bytes }: RowGroup): Promise<readonly Row[]> {
  const { path, file, metadata, columns } = table;
  if (bytes > mostBytes) {
    throw new AlignTokError(
      "unsupported",
      `${path}: expected row groups of less than 2 GiB, got ${bytes} bytes. write it with fewer rows to a group`,
    );
  }
  return parse(path, () =>
    parquetReadObjects({
      file,
      metadata,
      columns: [columns.image],
      rowStart: start,
      rowEnd: start + rows,
      compressors,
      utf8: false,
    }),
  );
}

/** What the library makes of a file's bytes; what it throws is damage of the file. */
async function parse<T>(path: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (cause) {
    if (AlignTokError.isInstance(cause)) throw cause;
    const reason = (cause instanceof Error ? cause.message : String(cause)).slice(0, 200);
    throw new AlignTokError(
      "bad-format",
      `${path}: expected a whole Parquet file, got a damaged one (${reason}). fetch it again`,
      { cause },
    );
  }
}
