import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { CulvertError } from '../../errors.ts';
import type { Element, NamedSet, Ruleset, Table } from '../../plan/ruleset.ts';
import { SyscallError } from '../syscall.ts';
import { applyTransaction } from './batch.ts';
import { deleteElements, newElements } from './element.ts';
import { addRuleset, replaceRuleset } from './ruleset.ts';
import { deleteTable } from './table.ts';
import { nft, useOwnNamespace } from './testing/own-namespace.ts';

const own = useOwnNamespace();

const MAP: NamedSet = { name: 'numbers', key: ['iface_index', 'ipv4_addr'], data: ['mark', 'ipv4_addr'], size: 65_536 };

function rulesetOf(name: string): Ruleset & { readonly table: Table } {
  const chains = [{ name: 'chain', rules: [[{ kind: 'verdict', verdict: 'drop' }]] }] as const;
  return { table: { family: 'inet', name }, sets: [MAP], chains, elements: [] };
}

function elementsFrom(first: number, count: number): Element[] {
  return Array.from({ length: count }, (_, index) => ({
    key: [10_000 + first + index, 0x0a0b0000 + first + index],
    data: [1, 0xa9fe0015],
    comment: `a${first + index} generation 1`,
  }));
}

const [one] = elementsFrom(1, 1) as [Element];

/** The error of a transaction that must fail. */
function refused(requests: Parameters<typeof applyTransaction>[1]): unknown {
  try {
    applyTransaction(own.netfilter, requests);
  } catch (error) {
    return error;
  }
  throw new Error('The transaction was not refused');
}

describe('a transaction', () => {
  it('changes nothing where one message is bad, whichever it is', () => {
    const [a, b] = [rulesetOf('a'), rulesetOf('b')];
    applyTransaction(own.netfilter, [...replaceRuleset(a), ...replaceRuleset(b)]);
    const before = nft('-j', 'list', 'ruleset');
    const good = [
      ...newElements(a.table, MAP, [one]),
      ...newElements(b.table, MAP, [one]),
      ...addRuleset({ ...a, sets: [{ ...MAP, name: 'new' }], chains: [{ name: 'new', rules: [] }] }),
      deleteTable(b.table),
    ];
    const bad = newElements(a.table, { ...MAP, name: 'absent' }, [one]);
    for (let at = 0; at <= good.length; at++) {
      const error = refused([...good.slice(0, at), ...bad, ...good.slice(at)]);
      expect(error).toBeInstanceOf(SyscallError);
      expect(error).toMatchObject({
        errnoName: 'ENOENT',
        message: 'Cannot add element (a1 generation 1) to set absent in table inet a: ENOENT',
      });
      expect(nft('-j', 'list', 'ruleset')).toBe(before);
    }
    applyTransaction(own.netfilter, good);
    expect(nft('list', 'ruleset')).not.toContain('table inet b');
  });

  it('names the first of many failures, and the socket works on', () => {
    const c = rulesetOf('c');
    const bad = elementsFrom(0, 5000).flatMap((element) => deleteElements(c.table, MAP, [element]));
    // more answers than a receive buffer holds
    expect(refused([...replaceRuleset(c), ...bad])).toMatchObject({
      message: 'Cannot delete element (a0 generation 1) of set numbers in table inet c: ENOENT',
    });
    expect(nft('list', 'tables')).not.toContain('inet c');
    applyTransaction(own.netfilter, replaceRuleset(c));
    expect(nft('list', 'tables')).toContain('inet c');
  });

  it('replaces an element that has the same key', () => {
    const d = rulesetOf('d');
    applyTransaction(own.netfilter, [...replaceRuleset(d), ...newElements(d.table, MAP, [one])]);
    const changed = { ...one, data: [2, 0xa9fe0015] };
    expect(refused(newElements(d.table, MAP, [changed]))).toMatchObject({ errnoName: 'EEXIST' });
    applyTransaction(own.netfilter, [...deleteElements(d.table, MAP, [one]), ...newElements(d.table, MAP, [changed])]);
    expect(nft('list', 'map', 'inet', 'd', 'numbers')).toMatch(/"a1 generation 1" : 0x00000002 \. 169\.254\.0\.21/);
  });

  it('says what set is full', () => {
    const e = rulesetOf('e');
    const small = { ...MAP, size: 3 };
    applyTransaction(own.netfilter, replaceRuleset({ ...e, sets: [small] }));
    expect(refused(newElements(e.table, small, elementsFrom(0, 4)))).toMatchObject({
      errnoName: 'ENFILE',
      message: 'Cannot add 4 elements (first a0 generation 1) to set numbers in table inet e: ENFILE',
    });
  });

  it('is done at once where it is empty', () => {
    expect(() => applyTransaction(own.netfilter, [])).not.toThrow();
  });
});

it('sends ten thousand elements in one piece, or says that it may not', () => {
  const f = rulesetOf('f');
  const requests = [...replaceRuleset(f), ...newElements(f.table, MAP, elementsFrom(0, 10_000))];
  try {
    applyTransaction(own.netfilter, requests);
  } catch (error) {
    // without privilege in the first user namespace the send buffer stays small
    if (!(error instanceof CulvertError) || error.code !== 'transaction_too_big') throw error;
    expect(nft('list', 'tables')).not.toContain('inet f');
    return;
  }
  const listed = JSON.parse(nft('-j', 'list', 'map', 'inet', 'f', 'numbers')) as {
    nftables: { map?: { elem: unknown[] } }[];
  };
  expect(listed.nftables.find(({ map }) => map !== undefined)?.map?.elem).toHaveLength(10_000);
});

it('says that a transaction is too big, and does nothing of it', () => {
  // as root in a user namespace of its own, whose send buffer takes twice this, or as anyone where this is much
  const most = 2 * Number(readFileSync('/proc/sys/net/core/wmem_max', 'utf8'));
  const script = `
    import { NetlinkSocket } from ${JSON.stringify(import.meta.resolve('../netlink/socket.ts'))};
    import { applyTransaction } from ${JSON.stringify(import.meta.resolve('./batch.ts'))};
    import { newTable } from ${JSON.stringify(import.meta.resolve('./table.ts'))};
    import { observeTable } from ${JSON.stringify(import.meta.resolve('./observe.ts'))};
    using socket = new NetlinkSocket(12);
    const first = { ...newTable({ family: 'inet', name: 'first' }) };
    const long = { ...first, write: (writer) => { first.write(writer); writer.raw(new Uint8Array(${most})); } };
    try { applyTransaction(socket, [first, long]); console.log('done'); }
    catch (error) { console.log(error.code, error.message); }
    console.log(observeTable(socket, { family: 'inet', name: 'first' }));
  `;
  const args = ['-Urn', process.execPath, '--input-type=module-typescript', '-e', script];
  const printed = execFileSync('unshare', args, { encoding: 'utf8' });
  expect(printed).toMatch(/^transaction_too_big Cannot commit a transaction of nf_tables: it takes \d+ bytes/);
  expect(printed).toMatch(/undefined\n$/);
});
