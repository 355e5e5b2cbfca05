import type { Case } from './case.ts';
import { deviceCases } from './device-cases.ts';
import { packetCases } from './packet-cases.ts';

export const cases: readonly Case[] = [...deviceCases, ...packetCases];
