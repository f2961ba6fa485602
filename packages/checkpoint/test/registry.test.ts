import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, readlink, rm, stat, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { listWeights, locateWeights, pullWeights, resolveWeights } from "../src/index.ts";

type Handler = (request: IncomingMessage, response: ServerResponse, count: number) => void;

const content = Buffer.from(Array.from({ length: 100_000 }, (_, i) => (i * 7919) % 251));
const config = Buffer.from('{"model_type":"dinov2"}');
const commit = "a".repeat(40);
const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");
const gitSha1 = (bytes: Buffer) =>
  createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
const quick = { retries: 3, retryDelay: 1 };

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
      const [, asked] = /\/revision\/([0-9a-f]{40})/.exec(request.url) ?? [];
      response.end(JSON.stringify({ sha: asked ?? commit, siblings }));
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
  const { path } = await pull({ stallTimeout: 150 });
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
  const reason = new Error("enough");
  const onProgress = ({ task }: { task: string }) =>
    task === "model.safetensors" && controller.abort(reason);
  await expect(pull({ signal: controller.signal, onProgress })).rejects.toMatchObject({
    code: "aborted",
    cause: reason,
  });
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
  const zip = Buffer.concat([Buffer.from("PK\x03\x04"), content]);
  const entry = "mae_pretrain_vit_base";
  const { path } = await pullWeights(entry, { ...quick, fetch: send(zip) });
  expect(path).toMatch(/home.weights.mae_pretrain_vit_base.mae_pretrain_vit_base\.pth$/);
  expect(JSON.parse(await readFile(`${path}.json`, "utf8"))).toMatchObject({
    sha256: sha256(zip),
  });
  expect(await resolveWeights(entry)).toBe(path);
  await writeFile(path, Buffer.alloc(zip.length)); // damaged on the disk
  await pullWeights(entry, { ...quick, fetch: send(zip) });
  expect(await readFile(path)).toEqual(zip);
  for (const [name, digits] of [
    ["vgg16", "397923af"],
    ["dinov2_vits14", "b938bf1b"],
  ] as const) {
    await expect(pullWeights(name, { ...quick, fetch: send(zip) })).rejects.toMatchObject({
      code: "bad-format",
      message: expect.stringContaining(digits),
    });
  }
});

test.each([
  ["<html>blocked by the proxy</html>", "got a web page"],
  ["\n<!DOCTYPE html><title>sign in</title>", "got a web page"],
  ['<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "got 61 other bytes"],
  ["", "got an empty file"],
])("a first download without a known hash must look like weights: %s", async (body, got) => {
  const fetch = async () => new Response(body);
  const entry = "mae_pretrain_vit_base";
  await expect(pullWeights(entry, { ...quick, fetch })).rejects.toMatchObject({
    code: "bad-format",
    message: expect.stringContaining(`expected weights, ${got}. it was discarded`),
  });
  expect(await readdir(join(folder, "home", "weights", entry))).toEqual([]);
  expect(await resolveWeights(entry)).toBeUndefined();
});

test("an entry is taken at its commit and by its hashes; what main is in the cache does as well", async () => {
  await hub(serve);
  const listed = await listWeights();
  const { revision = "" } = listed.find((entry) => entry.name === "dinov2-base")!;
  expect(revision).toMatch(/^[0-9a-f]{40}$/);
  const { path, commit: pulled } = await pullWeights("dinov2-base", quick);
  expect(pulled).toBe(revision);
  expect(path).toMatch(new RegExp(`dinov2-base.snapshots.${revision}$`));
  expect(await resolveWeights("dinov2-base")).toBe(path);
  expect(await resolveWeights("facebook/dinov2-base")).toBe(path);
  const followed = await pullWeights("facebook/dinov2-base", quick);
  expect(followed.commit).toBe(commit);
  expect(await resolveWeights("facebook/dinov2-base")).toBe(followed.path);
  await rm(path, { recursive: true });
  expect(await resolveWeights("dinov2-base")).toBe(followed.path);

  const small = listed.find((entry) => entry.name === "dinov2-small")!;
  const [{ name: file, sha256: digits = "" }] = small.files as [(typeof small.files)[0]];
  expect(file).toBe("model.safetensors");
  await expect(pullWeights("dinov2-small", quick)).rejects.toMatchObject({
    code: "bad-format",
    message: expect.stringContaining(`expected SHA-256 ${digits}`),
  });
  const fetch = async () => Response.json({ sha: commit, siblings: [] });
  await expect(pullWeights("dinov2-base", { ...quick, fetch })).rejects.toMatchObject({
    code: "bad-format",
    message: expect.stringContaining(`expected commit ${revision}, got ${commit}`),
  });
});

test.each([
  ["hf-mirror.com", "bad-input", "expected an address such as https://huggingface.co"],
  ["hf-mirror.com:8080", "bad-input", "expected an address such as https://huggingface.co"],
  ["https://hub.test", "not-found", "got no file"],
])("HF_ENDPOINT %s, and a list of null, is %s", async (endpoint, code, message) => {
  vi.stubEnv("HF_ENDPOINT", endpoint);
  vi.stubEnv("HF_TOKEN", "hf_secret");
  const fetch = async () => Response.json({ sha: commit, siblings: [null] });
  await expect(pull({ fetch })).rejects.toMatchObject({
    code,
    message: expect.stringContaining(message),
  });
});

test("every entry has its own name, a licence and a source; hashes are hexadecimal", async () => {
  const weights = await listWeights();
  expect(new Set(weights.map((entry) => entry.name)).size).toBe(weights.length);
  for (const { licence, source, path, files, revision } of weights) {
    expect(licence).not.toBe("");
    expect(revision ?? "main").toMatch(/^(main|[0-9a-f]{40})$/);
    expect(revision === undefined).toBe(files.some(({ url }) => url !== undefined));
    for (const { sha256 = "0".repeat(64) } of files)
      expect(sha256).toMatch(/^([0-9a-f]{8}|[0-9a-f]{64})$/);
    expect(source).toMatch(/^(https:\/\/\S+\.pth?|[\w.-]+\/[\w.-]+)$/);
    expect(path).toBeUndefined();
  }
  await expect(pullWeights("dinov2-smal")).rejects.toMatchObject({
    code: "not-found",
    message: expect.stringContaining("dinov2-small"),
  });
});

test("weights that are nowhere are a path to check, or a name to pull", async () => {
  await mkdir(join(folder, "encs"));
  const nextStep = async (text: string) => {
    const error: Error = await locateWeights(text).then(
      () => expect.unreachable(),
      (reason) => reason,
    );
    return error.message.replace(/^.*, got /, "");
  };
  const paths = ["./encs/nothere", "encs/a/nothere", `${folder}/encs/nothere`];
  for (const path of paths) expect(await nextStep(path)).toBe(`${path}. check the path`);
  // like a repository's name, but the folder is there
  expect(await nextStep("node_modules/nothere")).toBe("node_modules/nothere. check the path");
  for (const name of ["nothere", "owner/nothere"]) {
    expect(await nextStep(name)).toBe(`${name}. run aligntok weights pull ${name} if it is a name`);
  }
});
