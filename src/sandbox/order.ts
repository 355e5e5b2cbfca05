import { randomInt } from 'node:crypto';
import { InputError } from '../errors.ts';
import type { LeaseRequest } from '../ipam/allocator.ts';
import { parseSandboxId, type SandboxId } from '../ipam/lease.ts';
import type { Assignment } from '../ipam/transition.ts';
import type { Holding } from './holding.ts';
import type { Specification } from './sandbox.ts';
import { differences, specificationText } from './specification.ts';
import { ownVia } from './via.ts';

/** Whether a warm network is as its owner wants it, who needs no more than to be let pass. */
export function fits({ specification }: Order): boolean {
  return Object.keys(specification.rates).length === 0 && ownVia(specification) === undefined;
}

/** A sandbox that is to be made. */
export type Order = { readonly id: SandboxId; readonly specification: Specification };

/** Of a sandbox for which nobody has said one. */
export function newSandboxId(): SandboxId {
  const alphabet = 'abcdefghijkmnpqrstuvwxyz23456789';
  const letters = Array.from({ length: 12 }, () => alphabet[randomInt(alphabet.length)]);
  return parseSandboxId(`sb-${letters.join('')}`);
}

/** Gives a warm network to its owner. */
export function assignmentOf({ key }: Holding, order: Order): Assignment {
  const specification = specificationText(order.specification);
  return { key, sandboxId: order.id, specification, to: fits(order) ? 'ready' : 'creating' };
}

/** Asks for a slot where there is no warm network. */
export function requestOf({ id, specification }: Order): LeaseRequest {
  return { topology: specification.topology, sandboxId: id, specification: specificationText(specification) };
}

/**
 * One that exists is the same, or another's.
 *
 * @param found undefined for one that does not exist
 * @throws InputError `sandbox_exists`, with what differs
 */
export function assertSame({ id, specification }: Order, found: Specification | undefined): void {
  const different = found === undefined ? [] : differences(specification, found);
  if (different.length === 0) return;
  throw new InputError(
    'sandbox_exists',
    `Cannot create sandbox ${id}: it exists with another specification (${different.join(', ')})`,
    { field: 'id' },
  );
}
