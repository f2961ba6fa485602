import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, readlink, rm, stat, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { listWeights, pullWeights, resolveWeights } from "../src/index.ts";

type Handler = (request: IncomingMessage, response: ServerResponse, count: number) => void;

const content = Buffer.from(Array.from({ length: 100_000 }, (_, i) => (i * 7919) % 251));
const config = Buffer.from('{"model_type":"dinov2"}');
const commit = "a".repeat(40);
const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");
const gitSha1 = (bytes: Buffer) =>
  createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
const quick = { retries: 3, retryDelay: 1, stallTimeout: 150 };

let folder = "";
const servers: Server[] = [];
const seen: IncomingMessage[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "aligntok-registry-"));
  for (const name of ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"])
    vi.stubEnv(name, "");
  for (const name of [
    "HF_HUB_CACHE",
    "HUGGINGFACE_HUB_CACHE",
    "HF_HUB_OFFLINE",
    "TRANSFORMERS_OFFLINE",
  ])
    vi.stubEnv(name, "");
  vi.stubEnv("HF_TOKEN", "");
  vi.stubEnv("HUGGING_FACE_HUB_TOKEN", "");
  vi.stubEnv("HF_TOKEN_PATH", "");
  vi.stubEnv("HF_HOME", join(folder, "hf"));
  vi.stubEnv("ALIGNTOK_HOME", join(folder, "home"));
});
afterEach(async () => {
  vi.unstubAllEnvs();
  seen.length = 0;
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
  await rm(folder, { recursive: true });
});

async function listen(handler: Handler): Promise<string> {
  let count = 0;
  const server = createServer((request, response) => {
    seen.push(request);
    handler(request, response, ++count);
  });
  servers.push(server);
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A hub with one model, whose weights `weights` sends. */
async function hub(
  weights: Handler,
  stated: { size?: number; sha256?: string } = {},
): Promise<void> {
  let count = 0;
  const endpoint = await listen((request, response) => {
    if (request.url?.startsWith("/api/")) {
      const lfs = { sha256: stated.sha256 ?? sha256(content) };
      const siblings = [
        { rfilename: "config.json", size: config.length, blobId: gitSha1(config) },
        { rfilename: "README.md", size: 1, blobId: "b".repeat(40) },
        { rfilename: "../../escape", size: 1, blobId: "c".repeat(40) },
        {
          rfilename: "model.safetensors",
          size: stated.size ?? content.length,
          blobId: "d".repeat(40),
          lfs,
        },
      ];
      response.end(JSON.stringify({ sha: commit, siblings }));
    } else if (request.url?.endsWith("config.json")) response.end(config);
    else weights(request, response, ++count);
  });
  vi.stubEnv("HF_ENDPOINT", endpoint);
}

/** What a server that knows ranges does. */
const serve: Handler = (request, response) => {
  const start = Number(/bytes=(\d+)-/.exec(request.headers.range ?? "")?.[1] ?? 0);
  if (start >= content.length) {
    response.writeHead(416, { "content-range": `bytes */${content.length}` }).end();
    return;
  }
  const ranged = request.headers.range !== undefined && request.headers["if-range"] === '"v1"';
  response.writeHead(ranged ? 206 : 200, {
    etag: '"v1"',
    "content-length": content.length - (ranged ? start : 0),
    ...(ranged && { "content-range": `bytes ${start}-${content.length - 1}/${content.length}` }),
  });
  response.end(content.subarray(ranged ? start : 0));
};

/** Half of the content, then the end of the connection. */
const breakOff: Handler = (_, response) => {
  response.writeHead(200, { etag: '"v1"', "content-length": content.length });
  response.write(content.subarray(0, 50_000), () => setTimeout(() => response.destroy(), 20));
};

const name = "someone/model";
const pull = (options = {}) => pullWeights(name, { ...quick, ...options });

test("a repository lies in the cache as huggingface_hub lays it out, and resolves without the network", async () => {
  await hub(serve);
  expect(await resolveWeights(name)).toBeUndefined();
  const { path, files } = await pull();
  const root = join(folder, "hf", "hub", "models--someone--model");
  expect(path).toBe(join(root, "snapshots", commit));
  expect(files).toHaveLength(2);
  expect(await readFile(join(path, "model.safetensors"))).toEqual(content);
  expect(await readlink(join(path, "model.safetensors"))).toBe(`../../blobs/${sha256(content)}`);
  expect((await readdir(join(root, "blobs"))).sort()).toEqual(
    [sha256(content), gitSha1(config)].sort(),
  );
  expect(await readFile(join(root, "refs", "main"), "utf8")).toBe(commit);
  seen.length = 0;
  expect(await resolveWeights(name)).toBe(path);
  expect(await resolveWeights(`${name}/config.json`)).toBe(join(path, "config.json"));
  expect((await pull({ offline: true })).path).toBe(path);
  expect(seen).toHaveLength(0);
});

test("a download that breaks off goes on where it stopped", async () => {
  await hub((request, response, count) =>
    (count === 1 ? breakOff : serve)(request, response, count),
  );
  const { path } = await pull();
  expect(await readFile(join(path, "model.safetensors"))).toEqual(content);
  expect(seen.at(-1)?.headers).toMatchObject({ range: "bytes=50000-", "if-range": '"v1"' });
});

test("what a former call left is gone on with", async () => {
  await hub((request, response, count) => {
    if (count === 1) breakOff(request, response, count);
    else if (count === 2) response.writeHead(503, { "retry-after": "3600" }).end();
    else serve(request, response, count);
  });
  await expect(pull()).rejects.toMatchObject({
    code: "unavailable",
    message: expect.stringContaining("503"),
  });
  const { path } = await pull();
  expect(await readFile(join(path, "model.safetensors"))).toEqual(content);
  expect(seen.at(-1)?.headers.range).toBe("bytes=50000-");
});

test("a file that changed meanwhile is fetched from its start", async () => {
  await hub((request, response, count) => {
    if (count === 1) breakOff(request, response, count);
    else response.writeHead(200, { etag: '"v2"', "content-length": content.length }).end(content);
  });
  const { path } = await pull();
  expect(await readFile(join(path, "model.safetensors"))).toEqual(content);
});

test("a part that does not belong to the file costs one fresh start", async () => {
  await hub(serve);
  const blobs = join(folder, "hf", "hub", "models--someone--model", "blobs");
  const part = join(blobs, `${sha256(content)}.aligntok.incomplete`);
  await mkdir(blobs, { recursive: true });
  await writeFile(part, Buffer.alloc(60_000));
  const url = `${process.env.HF_ENDPOINT}/${name}/resolve/${commit}/model.safetensors`;
  await writeFile(`${part}.json`, JSON.stringify({ url, validator: '"v1"' }));
  const { path } = await pull();
  expect(await readFile(join(path, "model.safetensors"))).toEqual(content);
});

test("a stalled connection is given up and tried again", async () => {
  await hub((request, response, count) => {
    if (count > 1) return serve(request, response, count);
    response.writeHead(200, { etag: '"v1"', "content-length": content.length });
    response.write(content.subarray(0, 1000));
  });
  const { path } = await pull();
  expect(await readFile(join(path, "model.safetensors"))).toEqual(content);
});

test.each([429, 503])("status %d with Retry-After is waited for", async (status) => {
  await hub((request, response, count) => {
    if (count > 1) return serve(request, response, count);
    response.writeHead(status, { "retry-after": "0" }).end();
  });
  await expect(pull()).resolves.toMatchObject({ commit });
});

test("a hub that is busy is asked again for the list of files", async () => {
  let count = 0;
  const endpoint = await listen((_, response) => {
    response.writeHead(++count === 1 ? 429 : 404, { "retry-after": "0" }).end();
  });
  vi.stubEnv("HF_ENDPOINT", endpoint);
  await expect(pull()).rejects.toMatchObject({ code: "not-found" });
  expect(count).toBe(2);
});

test("a length that lies is found out, and nothing takes the name of the file", async () => {
  await hub((_, response) => {
    response.writeHead(200, { "content-length": 1000 }).end(content.subarray(0, 1000));
  });
  await expect(pull()).rejects.toMatchObject({
    message: expect.stringContaining("1000 bytes instead of 100000"),
  });
  expect(await resolveWeights(name)).toBeUndefined();
});

test("content of another hash is discarded", async () => {
  await hub(serve, { sha256: "e".repeat(64) });
  await expect(pull()).rejects.toMatchObject({
    code: "bad-format",
    message: expect.stringContaining("SHA-256"),
  });
  const blobs = join(folder, "hf", "hub", "models--someone--model", "blobs");
  expect(await readdir(blobs)).toEqual([gitSha1(config)]);
});

test("a token goes to its own host and not to the one that it leads to", async () => {
  vi.stubEnv("HF_TOKEN", "hf_secret");
  const elsewhere = await listen(serve);
  await hub((_, response) => {
    response.writeHead(302, { location: `${elsewhere}/blob` }).end();
  });
  await pull();
  const tokens = (path: string) => seen.find(({ url }) => url === path)?.headers.authorization;
  expect(tokens("/blob")).toBeUndefined();
  expect(tokens(`/${name}/resolve/${commit}/model.safetensors`)).toBe("Bearer hf_secret");
});

test.each([
  [401, "unavailable", "HF_TOKEN"],
  [403, "unavailable", "accept the licence"],
  [404, "not-found", "check the name"],
])("status %d of the hub is %s and says what to do", async (status, code, step) => {
  vi.stubEnv("HF_ENDPOINT", await listen((_, response) => response.writeHead(status).end()));
  await expect(pull()).rejects.toMatchObject({ code, message: expect.stringContaining(step) });
  expect(seen).toHaveLength(1);
});

test("two pulls at once fetch a file once, and one that aborts leaves its part", async () => {
  await hub(serve);
  const [a, b] = await Promise.all([pull(), pull()]);
  expect(a.path).toBe(b.path);
  expect(seen.filter(({ url }) => url?.endsWith("model.safetensors"))).toHaveLength(1);

  await rm(join(folder, "hf"), { recursive: true });
  await hub((_, response) => {
    response.writeHead(200, { etag: '"v1"', "content-length": content.length });
    response.write(content.subarray(0, 50_000));
  });
  const controller = new AbortController();
  const onProgress = ({ task }: { task: string }) =>
    task === "model.safetensors" && controller.abort();
  await expect(
    pull({ signal: controller.signal, onProgress, stallTimeout: 5000 }),
  ).rejects.toThrow();
  const blobs = join(folder, "hf", "hub", "models--someone--model", "blobs");
  expect((await stat(join(blobs, `${sha256(content)}.aligntok.incomplete`))).size).toBeGreaterThan(
    0,
  );
  expect((await readdir(blobs)).filter((file) => file.endsWith(".lock"))).toEqual([]);
});

test("a proxy of the environment is used", async () => {
  await hub(serve);
  const proxied: string[] = [];
  const proxy = await listen((request, response) => {
    proxied.push(request.url ?? "");
    response.writeHead(502).end();
  });
  servers.at(-1)!.on("connect", (request, socket) => {
    proxied.push(request.url ?? "");
    socket.end("HTTP/1.1 502 Bad Gateway\r\n\r\n");
  });
  vi.stubEnv("HTTP_PROXY", proxy);
  vi.stubEnv("http_proxy", proxy);
  vi.stubEnv("NO_PROXY", "");
  vi.stubEnv("no_proxy", "");
  await expect(pull()).rejects.toMatchObject({ code: "unavailable" });
  expect(proxied.length).toBeGreaterThan(0);
  vi.stubEnv("NO_PROXY", "127.0.0.1");
  vi.stubEnv("no_proxy", "127.0.0.1");
  await expect(pull()).resolves.toMatchObject({ commit });
});

test("a file of a plain URL is recorded at the first pull and checked at the next", async () => {
  const send = (body: Buffer) => async () =>
    new Response(new Uint8Array(body), { headers: { etag: '"v1"' } });
  const { path } = await pullWeights("dinov2_vits14", { ...quick, fetch: send(content) });
  expect(path).toMatch(/home.weights.dinov2_vits14.dinov2_vits14_pretrain\.pth$/);
  expect(JSON.parse(await readFile(`${path}.json`, "utf8"))).toMatchObject({
    sha256: sha256(content),
  });
  expect(await resolveWeights("dinov2_vits14")).toBe(path);
  await writeFile(path, Buffer.alloc(content.length)); // damaged on the disk
  await pullWeights("dinov2_vits14", { ...quick, fetch: send(content) });
  expect(await readFile(path)).toEqual(content);
  await expect(pullWeights("vgg16", { ...quick, fetch: send(content) })).rejects.toMatchObject({
    code: "bad-format",
    message: expect.stringContaining("397923af"),
  });
});

test("every entry has its own name, a licence and a source; hashes are hexadecimal", async () => {
  const weights = await listWeights();
  expect(new Set(weights.map((entry) => entry.name)).size).toBe(weights.length);
  for (const { licence, source, path } of weights) {
    expect(licence).not.toBe("");
    expect(source).toMatch(/^(https:\/\/\S+\.pth?|[\w.-]+\/[\w.-]+)$/);
    expect(path).toBeUndefined();
  }
  await expect(pullWeights("dinov2-smal")).rejects.toMatchObject({
    code: "not-found",
    message: expect.stringContaining("dinov2-small"),
  });
});
