// SPDX-License-Identifier: Apache-2.0
// A SIP message as fields, and its text in one of the many ways that RFC 3261 allows to write it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sipheal::testing::generator {

struct Party {
  std::string display;  // as written, with its quotes
  std::string uri;
  std::string params;  // of the header but for the tag: ";p=1"
  std::string tag;
};

struct Message {
  bool request = true;
  std::string method;  // of the CSeq, too
  std::uint32_t cseq = 0;
  int status = 0;
  std::string uri;
  std::vector<std::string> via;  // values, topmost first
  std::vector<std::string> route;
  std::vector<std::string> record_route;  // URIs, topmost first
  Party from;
  Party to;
  std::string call_id;
  std::string contact;             // URI; empty: no Contact
  std::string second_contact;      // another one behind it, which counts for nothing (rule 10.9)
  std::vector<std::string> extra;  // whole header lines
  std::string sdp;
};

// How one stack writes. All of these are the same message to RFC 3261 section 7.3.
struct Style {
  bool compact = false;        // f, t, i, m, v, l, c
  bool upper = false;          // FROM, TO, ...
  bool space_colon = false;    // "From : "
  bool folds = false;          // long lists over several lines
  bool comma_lists = false;    // several Record-Route values in one row
  bool bare_uris = false;      // From and To without <> where that is allowed
  bool route_params = false;   // header parameters after a Record-Route's >
  bool routes_last = false;    // Record-Route below everything else
  bool zeros_in_cseq = false;  // "CSeq: 0007 INVITE"
  bool odd_case = false;       // cOnTaCt, ;TAG=
  bool folds_values = false;   // Via, Call-ID, CSeq and Contact over several lines, too
  bool via_row = false;        // all Via values in one row
  bool bare_contact = false;   // Contact without <> where that is allowed
  bool any_order = false;      // header rows in any order, those of one name in theirs
  bool mixed_compact = false;  // some names compact, others not
};

std::string Render(const Message& message, const Style& style);

}  // namespace sipheal::testing::generator
