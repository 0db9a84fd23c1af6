// SPDX-License-Identifier: Apache-2.0
// A Session as bytes: what the SQL stores keep of it.
//
// The form is made for two things. Versions mix: a reader skips fields that it does not know, and a
// field that is not there keeps its default, so a controller of the release before or after reads
// the same record. And records go bad: a field that makes no sense costs that field, not the call.
//
//   record = 'S' version field*       version: of the oldest reader that understands it; 1
//   field  = tag length value         tag, length: LEB128; tags are never reused
//   value  = bytes | LEB128 | zigzag LEB128 | field* (a struct; lists repeat their tag)
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sipheal/export.h"
#include "sipheal/model/session.h"

namespace sipheal::inline v0_1::internal {

struct DecodedSession {
  Session session;
  // What could not be read, and has its default now: field names, "flow.playback.item"; or
  // "record" when nothing at all could be read. Empty when all is well.
  std::vector<std::string> damaged;
};

SIPHEAL_EXPORT std::string EncodeSession(const Session& session);

// Never fails: `key` and `incarnation` come from the record's place, so that even one of which
// nothing can be read is a session that gets an outcome.
SIPHEAL_EXPORT DecodedSession DecodeSession(const SessionKey& key, const Incarnation& incarnation,
                                            std::string_view bytes);

}  // namespace sipheal::inline v0_1::internal
