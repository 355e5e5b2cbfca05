import { describe, expect, it } from 'vitest';
import type { SandboxResource } from '../src/api/client/client.ts';
import { Ledger } from './ledger.ts';
import { ProofError } from './proof.ts';

const sandbox = (id: string, hostAddress: string): SandboxResource => ({ id, hostAddress }) as SandboxResource;

describe('a ledger of addresses', () => {
  it('takes each address once at a time', () => {
    const ledger = new Ledger(0);
    ledger.handOut(sandbox('a', '10.11.0.1'));
    ledger.handOut(sandbox('b', '10.11.0.2'));
    expect(() => ledger.handOut(sandbox('c', '10.11.0.1'))).toThrow(ProofError);
  });

  it('takes one again that has rested long enough', () => {
    const ledger = new Ledger(1000);
    const first = sandbox('a', '10.11.0.1');
    ledger.handOut(first);
    ledger.takeBack([first], performance.now() - 1000);
    ledger.handOut(sandbox('b', '10.11.0.1'));
    expect(ledger.held.map(({ id }) => id)).toEqual(['b']);
    expect(ledger.counts).toEqual({ handedOut: 2, usedAgain: 1 });
  });

  it('takes none that was removed lately', () => {
    const ledger = new Ledger(60_000);
    const first = sandbox('a', '10.11.0.1');
    ledger.handOut(first);
    ledger.takeBack([first], performance.now());
    expect(() => ledger.handOut(sandbox('b', '10.11.0.1'))).toThrow(ProofError);
  });
});
