import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MemoryDaemon } from '../../test/support/memory-daemon.ts';
import { HttpTransport } from './client/transport.ts';

type Document = {
  readonly openapi: string;
  readonly paths: Readonly<Record<string, Readonly<Record<string, { responses: Record<string, unknown> }>>>>;
};

let document: Document;
let text: string;
let daemon: MemoryDaemon;
beforeAll(async () => {
  daemon = await MemoryDaemon.start();
  using transport = new HttpTransport({ socketPath: daemon.socketPath });
  document = (await transport.json({ method: 'GET', path: '/openapi.json' })) as Document;
  text = JSON.stringify(document);
});
afterAll(() => daemon[Symbol.asyncDispose]());

describe('/openapi.json', () => {
  it('is OpenAPI 3.1 with every route', () => {
    expect(document.openapi).toBe('3.1.0');
    const routes = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
    expect(routes.toSorted()).toEqual([
      'DELETE /v1/drain',
      'DELETE /v1/hosts/{name}',
      'DELETE /v1/sandboxes',
      'DELETE /v1/sandboxes/{id}',
      'GET /healthz',
      'GET /metrics',
      'GET /v1/events',
      'GET /v1/hosts',
      'GET /v1/leases',
      'GET /v1/leases/{slot}',
      'GET /v1/mesh',
      'GET /v1/sandboxes',
      'GET /v1/sandboxes/{id}',
      'GET /v1/sandboxes/{id}/firecracker',
      'GET /v1/status',
      'PATCH /v1/mesh',
      'PATCH /v1/sandboxes/{id}',
      'POST /v1/drain',
      'POST /v1/leases/{slot}/release',
      'POST /v1/reconcile',
      'POST /v1/sandboxes',
      'POST /v1/shutdown',
    ]);
  });

  it('refers to nothing that it does not hold', () => {
    const references = [...text.matchAll(/"\$ref":"#\/([^"]+)"/g)].map(([, path]) => path?.split('/') ?? []);
    expect(references.length).toBeGreaterThan(20);
    for (const path of references) {
      const found = path.reduce<unknown>((node, key) => (node as Record<string, unknown> | undefined)?.[key], document);
      expect(found, path.join('/')).toBeTypeOf('object');
    }
  });

  it('uses only formats that JSON Schema knows', () => {
    const formats = new Set([...text.matchAll(/"format":"([^"]+)"/g)].map(([, format]) => format));
    expect([...formats]).toEqual(['ipv4']);
  });

  it('says that no request takes an unknown field', () => {
    const { components } = document as unknown as {
      components: { schemas: Record<string, { additionalProperties?: unknown }> };
    };
    for (const name of [
      'CreateSandboxes',
      'ChangeSandbox',
      'RemoveSandboxes',
      'Rate',
      'Rates',
      'EgressPolicyParts',
      'EgressPolicyChange',
      'Reconcile',
    ]) {
      expect(components.schemas[name]?.additionalProperties, name).toBe(false);
    }
  });

  it('tells of failures on every route that can fail', () => {
    for (const [path, methods] of Object.entries(document.paths)) {
      if (path === '/healthz') continue;
      for (const { responses } of Object.values(methods)) expect(Object.keys(responses), path).toContain('503');
    }
  });
});
