import { expect, it } from 'vitest';
import { parseIpv4 } from '../../addr/ipv4.ts';
import { type Generation, parseSandboxId } from '../../ipam/lease.ts';
import { parseGroupName } from '../../sandbox/group.ts';
import { Directory } from './directory.ts';

const [WEB, DB] = [parseGroupName('web'), parseGroupName('db')];
const [A1, A2, A3] = ['10.64.0.1', '10.64.0.2', '10.64.16.3'].map((text) => parseIpv4(text)) as [never, never, never];
const own = (id: string, address: typeof A1, group?: typeof WEB): Parameters<Directory['takeOwn']>[0][number] => ({
  id: parseSandboxId(id),
  generation: 1 as Generation,
  address,
  ...(group === undefined ? {} : { group }),
});

it('knows who is in a group, by name and by address', () => {
  const directory = new Directory();
  directory.takeOwn([own('a', A1, WEB), own('b', A2, DB)]);
  directory.takeFar({ group: WEB, host: 'h2', id: 'a' }, A3);
  expect(directory.addressesOf(WEB, 'a')).toEqual([A1, A3]);
  expect([directory.groupOf(A1), directory.groupOf(A2), directory.groupOf(A3)]).toEqual([WEB, DB, undefined]);
  expect([directory.idAt(WEB, A3), directory.idAt(DB, A3), directory.idAt(DB, A2)]).toEqual(['a', undefined, 'b']);
  directory.takeFar({ group: WEB, host: 'h2', id: 'a' }, undefined);
  expect(directory.addressesOf(WEB, 'a')).toEqual([A1]);
  directory.takeOwn([own('a', A1)]);
  expect([directory.addressesOf(WEB, 'a'), directory.groupOf(A1), directory.idAt(WEB, A1)]).toEqual([
    [],
    undefined,
    undefined,
  ]);
});

it('follows an address to who has it now, whenever the former one is said to be gone', () => {
  const directory = new Directory();
  directory.takeFar({ group: WEB, host: 'h2', id: 'a' }, A3);
  directory.takeFar({ group: WEB, host: 'h2', id: 'b' }, A3);
  directory.takeFar({ group: WEB, host: 'h2', id: 'a' }, undefined);
  expect([directory.idAt(WEB, A3), directory.addressesOf(WEB, 'b'), directory.addressesOf(WEB, 'a')]).toEqual([
    'b',
    [A3],
    [],
  ]);
});
