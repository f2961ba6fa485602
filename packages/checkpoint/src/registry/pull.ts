/** Fetching weights, when asked to and at no other time. */
import { readFile, rm, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { AlignTokError, check, listSome, type OnProgress } from "@aligntok/core";
import { writeFileAtomic } from "../atomic-file.ts";
import { throwIfAborted } from "../write-progress.ts";
import {
  type DownloadOptions,
  describe,
  downloadFile,
  type Expected,
  findFault,
  hashFile,
  type Patience,
} from "./download.ts";
import { isFile, linkBlob, repositoryFolder, writeRevision } from "./hub-cache.ts";
import { selectCompanions, selectWeights, shardsOf } from "./hub-files.ts";
import {
  type Client,
  createFetch,
  type Fetch,
  isPassing,
  longestWait,
  pause,
  refusal,
  request,
  retryAfter,
} from "./request.ts";
import {
  findSource,
  type HubSource,
  resolveWeights,
  type UrlSource,
  urlFolder,
} from "./resolve.ts";
import { type RegistrySettings, readSettings, readToken } from "./settings.ts";

export interface PullOptions extends Patience {
  readonly signal?: AbortSignal;
  /** Bytes of the file under way. */
  readonly onProgress?: OnProgress;
  /** Only looks whether all is there. @default whether HF_HUB_OFFLINE is set */
  readonly offline?: boolean;
  /** Branch, tag or commit of a Hugging Face repository. @default that of the registry, or "main" */
  readonly revision?: string;
  /** Fetches what is there already as well. @default false */
  readonly force?: boolean;
  /** Does the requests. @default undici's, through the proxies of HTTP_PROXY, HTTPS_PROXY and NO_PROXY */
  readonly fetch?: Fetch;
}

export interface PulledWeights {
  readonly name: string;
  /** A folder, or the file where it is one. */
  readonly path: string;
  readonly files: readonly string[];
  /** The commit of a Hugging Face repository. */
  readonly commit?: string;
}

/**
 * Fetches the weights of a registry name or of a Hugging Face repository (`OWNER/NAME`, or `OWNER/NAME/PATH` for a
 * folder or file of it) into the cache and checks them; files that are there are checked against their hash only.
 *
 * @throws AlignTokError `not-found` for what does not exist, `unavailable` where the server cannot be reached, asks for
 * a token or `offline` forbids it, `bad-format` for content that does not have its hash or is no weights, `bad-input` for
 * an HF_ENDPOINT that is no address, `io` for a full disk, `aborted`. What has arrived is kept, and the next call goes on
 * with it.
 */
export async function pullWeights(name: string, options: PullOptions = {}): Promise<PulledWeights> {
  const settings = readSettings();
  const source = findSource(name, options.revision);
  if (options.offline ?? settings.offline) {
    const path = await resolveWeights(name, options);
    if (path === undefined) {
      throw new AlignTokError(
        "unavailable",
        `weights ${name}: expected them in the cache when offline, got none. pull them without --offline and HF_HUB_OFFLINE`,
      );
    }
    return { name, path, files: [] };
  }
  const own = options.fetch ? undefined : await createFetch();
  const fetch = options.fetch ?? own!.fetch;
  try {
    return source.kind === "hub"
      ? await pullRepository(name, source, { ...options, fetch }, settings)
      : await pullUrls(name, source, { ...options, fetch }, settings);
  } catch (error) {
    throwIfAborted(options.signal, `weights ${name}`);
    throw error;
  } finally {
    await own?.close();
  }
}

type Ready = PullOptions & { readonly fetch: Fetch };

async function pullRepository(
  name: string,
  { repository, revision, path, files, sha256 }: HubSource,
  options: Ready,
  settings: RegistrySettings,
): Promise<PulledWeights> {
  const { hubCache, endpoint } = settings;
  check(
    /^https?:\/\//i.test(endpoint) && URL.canParse(endpoint),
    () =>
      `HF_ENDPOINT: expected an address such as https://huggingface.co, got ${endpoint}. correct it, or unset it`,
  );
  const token = await readToken(settings);
  const client: Client = {
    fetch: options.fetch,
    ...(token && { token: { value: token, origin: new URL(endpoint).origin } }),
  };
  const { commit, listing } = await listRepository(
    `${endpoint}/api/models/${repository}/revision/${encodeURIComponent(revision)}?blobs=true`,
    client,
    options,
  );
  if (/^[0-9a-f]{40}$/.test(revision) && commit !== revision) {
    throw new AlignTokError(
      "bad-format",
      `${endpoint}/${repository}: expected commit ${revision}, got ${commit}. check HF_ENDPOINT`,
    );
  }
  const folder = repositoryFolder(hubCache, repository);
  const snapshot = join(folder, "snapshots", commit);
  const pulled: string[] = [];

  async function pullFile(file: string): Promise<string> {
    const expected = listing.get(file);
    check(
      expected,
      () =>
        `${repository}: expected ${file}, got ${listSome([...listing.keys()]) || "no file"}. check the name and the revision`,
    );
    const known = sha256?.[file];
    const [target, blob] = [join(snapshot, file), join(folder, "blobs", expected.blob)];
    const url = `${endpoint}/${repository}/resolve/${commit}/${file.split("/").map(encodeURIComponent).join("/")}`;
    const checked = known === undefined ? expected : { ...expected, sha256: known };
    await bring(url, blob, checked, client, { ...options, task: file });
    if (!(await isFile(target)) || options.force) await linkBlob(blob, target);
    pulled.push(target);
    return target;
  }

  const prefix = path ? `${path}/` : "";
  if (path && listing.has(path)) await pullFile(path);
  else if (files) for (const file of files) await pullFile(file);
  else {
    const has = (file: string) => listing.has(prefix + file);
    const weights = await selectWeights(has);
    if (!weights) {
      throw new AlignTokError(
        "not-found",
        `${name}: expected model.safetensors or another usual name of weights, got ${listSome([...listing.keys()]) || "no file"}. name one as ${repository}/FILE`,
      );
    }
    for (const file of selectCompanions(has)) await pullFile(prefix + file);
    const first = await pullFile(prefix + weights);
    if (weights.endsWith(".index.json")) {
      for (const shard of shardsOf(await readFile(first, "utf8"), first))
        await pullFile(prefix + shard);
    }
  }
  await writeRevision(folder, revision, commit);
  const single = files?.length === 1 ? files[0]! : path;
  return { name, path: single ? join(snapshot, single) : snapshot, files: pulled, commit };
}

interface Listed extends Expected {
  /** Name of the blob: the ETag that the hub gives the file. */
  readonly blob: string;
}

/** The commit of a revision and its files, as the hub states them. */
async function listRepository(
  url: string,
  client: Client,
  options: Ready,
): Promise<{ commit: string; listing: ReadonlyMap<string, Listed> }> {
  const response = await requestPatiently(url, client, options);
  if (!response.ok) throw refusal(url, response);
  const body = (await response.json().catch(() => undefined)) as
    | Record<string, unknown>
    | undefined;
  const { sha, siblings } = body ?? {};
  if (typeof sha !== "string" || !/^[0-9a-f]{40}$/.test(sha) || !Array.isArray(siblings)) {
    throw new AlignTokError(
      "bad-format",
      `${url}: expected a commit and its files, got something else. check HF_ENDPOINT`,
    );
  }
  return { commit: sha, listing: new Map(siblings.flatMap(parseSibling)) };
}

/** The response to a small request, tried again while the server is busy. */
async function requestPatiently(
  url: string,
  client: Client,
  { signal, stallTimeout = 30_000, retries = 5, retryDelay = 1000 }: Ready,
): Promise<Response> {
  for (let failures = 0; ; failures++) {
    const timeout = AbortSignal.timeout(stallTimeout);
    let response: Response;
    try {
      response = await request(url, client, {
        signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
      });
    } catch (cause) {
      signal?.throwIfAborted();
      if (AlignTokError.isInstance(cause)) throw cause;
      throw new AlignTokError(
        "unavailable",
        `${url}: expected an answer, got ${describe(cause)}. check the network, HTTPS_PROXY and HF_ENDPOINT`,
        { cause },
      );
    }
    const wait =
      retryAfter(response.headers) ?? retryDelay * 2 ** failures * (0.5 + Math.random() / 2);
    if (!isPassing(response.status) || failures >= retries || wait > longestWait) return response;
    await response.body?.cancel();
    await pause(wait, signal);
  }
}

function parseSibling(value: unknown): [string, Listed][] {
  const { rfilename, size, blobId, lfs } = (value ?? {}) as Record<string, unknown>;
  const { sha256 } = (lfs ?? {}) as Record<string, unknown>;
  const blob = sha256 ?? blobId;
  // names become paths: none may lead out of the snapshot
  if (typeof rfilename !== "string" || /(^|[/\\])\.\.([/\\]|$)|^[/\\]|\0/.test(rfilename))
    return [];
  if (typeof blob !== "string" || !/^[0-9a-f]{40,64}$/.test(blob)) return [];
  const hash = typeof sha256 === "string" ? { sha256 } : { gitSha1: blob };
  return [[rfilename, { blob, ...hash, ...(typeof size === "number" && { bytes: size }) }]];
}

/** Brings one file into place, unless it is there and right. */
async function bring(
  url: string,
  path: string,
  expected: Expected,
  client: Client,
  options: DownloadOptions & { readonly force?: boolean },
): Promise<void> {
  if (await isFile(path)) {
    if (!options.force && (await findFault(path, expected, options)) === undefined) return;
    await rm(path, { force: true });
  }
  await downloadFile(url, path, { ...options, client, expected });
}

/** What was found on the first pull of a file from a plain URL; later pulls check it. */
interface FileRecord {
  readonly url: string;
  readonly bytes: number;
  readonly sha256: string;
}

async function pullUrls(
  name: string,
  source: UrlSource,
  options: Ready,
  { home }: RegistrySettings,
): Promise<PulledWeights> {
  const folder = urlFolder(home, name);
  const files: string[] = [];
  for (const { url, sha256 } of source.files) {
    const file = basename(new URL(url).pathname);
    const path = join(folder, file);
    const record = await readRecord(`${path}.json`);
    const known = record?.url === url && !options.force ? record : undefined;
    const expected = known ?? (sha256 === undefined ? {} : { sha256 });
    await bring(url, path, expected, { fetch: options.fetch }, { ...options, task: file });
    if (!known) {
      const { size: bytes } = await stat(path);
      const found: FileRecord = {
        url,
        bytes,
        sha256: await hashFile(path, "sha256", options.signal),
      };
      await writeFileAtomic(`${path}.json`, `${JSON.stringify(found)}\n`);
    }
    files.push(path);
  }
  return { name, path: files.length === 1 ? files[0]! : folder, files };
}

async function readRecord(path: string): Promise<FileRecord | undefined> {
  try {
    return JSON.parse(await readFile(path, "utf8")) as FileRecord;
  } catch {
    return undefined;
  }
}
