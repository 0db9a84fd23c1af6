// SPDX-License-Identifier: Apache-2.0
// The fields that a dialog is made of, read from a parsed message: identities with their tags,
// target, routes, top Via and session timer, each URI split. No copies, no allocation.
//
//   MessageFields fields;  // large: keep one and read into it again
//   if (ParseResult result = fields.Read(view); !result.ok()) return ToStatus(result);
//   fields.from.uri.host; fields.from_tag; fields.record_route.uris();
//
// All views point into the message, as it was sent: nothing is unescaped, and a value that is
// folded over lines still holds its folds.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "sipheal/export.h"
#include "sipheal/sip/header_id.h"
#include "sipheal/sip/message_view.h"
#include "sipheal/sip/uri.h"

namespace sipheal::inline v0_1::sip {

// A name-addr or addr-spec (RFC 3261 20.10) with its URI split.
struct AddressField {
  std::string_view display;  // as written, quotes included; empty: none
  UriView uri;
  std::string_view params;  // header parameters from the first ';' after the URI; empty: none
  bool folded = false;      // the value goes over several lines
};

// The URIs of Record-Route or Route, in the order of the message: rows and commas are one list.
class SIPHEAL_EXPORT RouteList {
 public:
  // More proxies than Max-Forwards allows cannot have recorded themselves (rule 10.14).
  static constexpr int kMaxUris = 70;

  // Reads all rows of `id`. kBadNameAddr: one is malformed or without <>, or there are too many.
  ParseResult Read(const MessageView& view, HeaderId id);
  std::span<const UriView> uris() const { return {uris_.data(), count_}; }

  // For the readers of rows; false when the list is full.
  UriView* Add() { return count_ == kMaxUris ? nullptr : &uris_[count_++]; }
  void Clear() { count_ = 0; }

 private:
  std::size_t count_ = 0;
  std::array<UriView, kMaxUris> uris_;  // only count_ of them are valid
};

enum class Refresher : std::uint8_t { kNone, kUac, kUas };

struct SIPHEAL_EXPORT MessageFields {
  AddressField from;
  AddressField to;
  std::string_view from_tag;  // empty: none; an empty tag is none, it can match nothing
  std::string_view to_tag;
  // The first value of the first Contact row; of "*" and of none it has no URI.
  AddressField contact;
  bool has_contact = false;
  ViaView top_via;
  RouteList record_route;
  std::uint32_t session_expires = 0;  // seconds; 0: none, or not readable
  Refresher refresher = Refresher::kNone;

  // Everything above, or the first that is malformed: kBadVia, kBadNameAddr, kUnsafeBytes. After an
  // error the fields mean nothing.
  ParseResult Read(const MessageView& view);
};

}  // namespace sipheal::inline v0_1::sip
