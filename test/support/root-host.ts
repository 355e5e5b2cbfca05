import { afterEach, beforeEach } from 'vitest';
import { LabHost } from '../../lab/host.ts';
import type { Core } from '../../src/daemon/core.ts';
import type { CulvertEvent } from '../../src/daemon/engine.ts';
import { parseSandboxId } from '../../src/ipam/lease.ts';
import { NamespaceHandle } from '../../src/linux/namespace.ts';
import type { EgressPolicy } from '../../src/sandbox/policy/policy.ts';
import type { Sandbox } from '../../src/sandbox/sandbox.ts';
import { openCore } from './lab-core.ts';

export const a1 = parseSandboxId('a1');
export const OPEN: EgressPolicy = { egress: 'open', allow: [], deny: [] };
export const CLOSED: EgressPolicy = { ...OPEN, egress: 'none' };

/** Each test's own host, with what runs in its root namespace. */
export type RootHost = {
  readonly lab: LabHost;
  readonly run: <T>(body: () => T) => T;
  readonly withCore: <T>(body: (core: Core, events: readonly string[]) => T) => T;
  readonly answers: (where: string, address: string) => boolean;
};

export function useRootHost(): RootHost {
  let lab: LabHost;
  let inside: NamespaceHandle;
  beforeEach(() => {
    lab = new LabHost();
    inside = new NamespaceHandle(lab.pin('host'));
  });
  afterEach(() => {
    inside[Symbol.dispose]();
    lab[Symbol.dispose]();
  });
  const run = <T>(body: () => T): T => inside.run(body);
  return {
    get lab() {
      return lab;
    },
    run,
    withCore: (body) => {
      const events: string[] = [];
      const emit = ({ type, message }: Omit<CulvertEvent, 'sequence' | 'wallMs'>): void =>
        void events.push(`${type} ${message}`);
      return run(() => {
        using core = openCore(lab.folder, { emit });
        return body(core, events);
      });
    },
    answers: (where, address) => {
      try {
        lab.run(where, 'ping', '-c1', '-W1', address);
        return true;
      } catch {
        return false;
      }
    },
  };
}

export function create(core: Core, policy: EgressPolicy = OPEN): Sandbox {
  const [sandbox] = core.create([{ id: a1, specification: { topology: 'netns', rates: {}, policy } }]);
  if (sandbox === undefined) throw new Error('No sandbox');
  return sandbox;
}
