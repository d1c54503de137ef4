/**
 * A row that the database refuses for what is in it, a constraint or a trigger of the operator's say, would be refused
 * tomorrow as well. What a sender may write freely is left out then; the mail itself is in the object store.
 */
import type { Note } from '../ports/extraction-store.ts';
import type { NewMessage } from '../ports/message-store.ts';

export const FIELD_UNSTORABLE = 'field-unstorable';

const NOTE: Note = {
  code: FIELD_UNSTORABLE,
  part: null,
  text: 'the database refused a field of this mail: subject, sender, header addresses, date and HELO name are left empty',
};

/** The same row without free text, and a note that says so. What it is known by, and the recipient, stay. */
export function withoutText(message: NewMessage): NewMessage {
  return {
    ...message,
    subject: null,
    fromEmail: null,
    reversePath: null,
    headerFrom: null,
    headerTo: null,
    headerDate: null,
    heloName: null,
    notes: [...(message.notes ?? []), NOTE],
  };
}
