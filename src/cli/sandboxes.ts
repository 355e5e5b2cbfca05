import type { SandboxResource } from '../api/client/client.ts';
import { printTable } from './output.ts';
import { policyText, rateText } from './specification.ts';

const HEAD = ['ID', 'TOPOLOGY', 'SLOT', 'GEN', 'HOST ADDRESS', 'INSIDE', 'GATEWAY', 'GROUP', 'EGRESS', 'TX', 'RX'];

/** A line per sandbox. */
export function printSandboxes(sandboxes: readonly SandboxResource[]): void {
  printTable(HEAD, sandboxes.map(row));
}

function row(sandbox: SandboxResource): string[] {
  const { id, topology, slot, generation, hostAddress, guestAddress, gateway, policy, rates } = sandbox;
  const numbers = [String(slot), String(generation)];
  const addresses = [hostAddress, guestAddress, gateway];
  return [
    id,
    topology,
    ...numbers,
    ...addresses,
    sandbox.group ?? '-',
    policyText(policy),
    rateText(rates.transmit),
    rateText(rates.receive),
  ];
}
