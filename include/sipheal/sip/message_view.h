// SPDX-License-Identifier: Apache-2.0
// MessageView reads one SIP message in place: no copies, no allocation. It indexes the header
// fields that sipheal uses and checks what must hold before any of them may be believed.
//
//   MessageView view;
//   if (ParseResult result = view.Parse(bytes); !result.ok()) return ToStatus(result);
//   view.call_id(); view.cseq(); view.Get(HeaderId::kFrom);
//
// The view points into `bytes`, which must outlive it. Not thread-safe while parsing; const use is.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "sipheal/export.h"
#include "sipheal/sip/header_id.h"
#include "sipheal/sip/method.h"
#include "sipheal/sip/uri.h"

namespace sipheal::inline v0_1::sip {

namespace kernel {
struct Kernel;
}

// Why a message was not taken. Each names the rule it breaks.
enum class ParseError : std::uint8_t {
  kNone,
  kEmpty,
  kTooLarge,            // above ParseLimits::max_bytes
  kBadStartLine,        // RFC 3261 7.1, 7.2
  kBadVersion,          // not SIP/2.0
  kBadStatusCode,       // not 100-699
  kBadRequestUri,       // white space, <>, or no URI (RFC 4475 3.1.2.7-10, RFC 5118 4.2)
  kTooManyHeaders,      // above kMaxIndexedHeaders of those that are indexed
  kNoEndOfHeaders,      // the empty line after them is missing: the message was cut
  kDuplicateHeader,     // two From, To, Call-ID or CSeq; two Content-Length that differ
  kMissingHeader,       // no From, To, Call-ID, CSeq or Via
  kBadCseq,             // not digits and method, or above 2^32-1
  kCseqMethodMismatch,  // RFC 4475 3.1.2.17
  kBadContentLength,    // not a number
  kBadVia,
  kBadNameAddr,  // From, To, Contact, Route or Record-Route
  kUnsafeBytes,  // CR, LF or NUL within a value that would be used again
};

SIPHEAL_EXPORT std::string_view ToString(ParseError error);

struct ParseResult {
  ParseError error = ParseError::kNone;
  std::uint32_t offset = 0;  // byte offset of what was found wrong

  bool ok() const { return error == ParseError::kNone; }
};

// OK, or InvalidArgument with the rule and the byte offset.
SIPHEAL_EXPORT absl::Status ToStatus(const ParseResult& result);

struct ParseLimits {
  std::size_t max_bytes = 256 * 1024;
};

namespace kernel {

// Where a field's value stands; not trimmed, a fold still in it.
struct HeaderRow {
  std::uint32_t begin;
  std::uint32_t end;
};

// The rows of the fields that are read, chained by field in the order of the message. A chain
// begins at the number of its HeaderId, so that adding a row asks nothing: not whether it is the
// first of its field, nor whether the field is one that is read. Rows have the numbers from
// kFirstRow.
struct HeaderTable {
  static constexpr std::size_t kMaxRows = 256;
  // The limit is checked after a batch of lines, not after each.
  static constexpr std::size_t kSlack = 128;
  static constexpr std::size_t kFirstRow = static_cast<std::size_t>(kHeaderIdCount);
  static constexpr std::size_t kLastRow = kFirstRow + kMaxRows - 1;

  HeaderTable() { std::fill_n(next.begin(), kFirstRow, std::uint16_t{0}); }  // no row is read
  std::size_t First(HeaderId id) const { return next[static_cast<std::size_t>(id)]; }

  std::array<std::uint16_t, kHeaderIdCount> last;  // of each chain
  std::array<std::uint16_t, kLastRow + 1 + kSlack>
      next;                                           // of a chain's beginning, of a row; 0: none
  std::array<HeaderRow, kLastRow + 1 + kSlack> rows;  // not cleared: only those in chains are read
};

// What a parse leaves behind.
struct ParsedMessage {
  std::string_view bytes;
  std::string_view method_text;
  UriView request_uri;
  std::string_view reason;
  std::string_view call_id;
  std::string_view body;
  std::size_t size = 0;
  std::uint32_t cseq = 0;
  int status = 0;
  Method method = Method::kOther;
  bool body_truncated = false;
  HeaderTable table;
};

constexpr bool IsHeaderSpace(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

}  // namespace kernel

class SIPHEAL_EXPORT MessageView {
 public:
  // Of the fields in HeaderId; 70 each of Via, Route and Record-Route fit (rule 10.14).
  static constexpr int kMaxIndexedHeaders = kernel::HeaderTable::kMaxRows;

  MessageView() = default;

  // Reads `bytes`, a whole message. What follows the body by Content-Length is ignored.
  ParseResult Parse(std::string_view bytes, const ParseLimits& limits = {});
  // A view into a temporary would dangle.
  ParseResult Parse(std::string&& bytes, const ParseLimits& limits = {}) = delete;

  bool is_request() const { return parsed_.status == 0; }
  // Of a response: the CSeq's method.
  Method method() const { return parsed_.method; }
  std::string_view method_text() const { return parsed_.method_text; }
  // Of a request, as it was sent and split; empty of a response.
  std::string_view request_uri() const { return parsed_.request_uri.text; }
  const UriView& split_request_uri() const { return parsed_.request_uri; }
  int status() const { return parsed_.status; }  // 0 for a request
  std::string_view reason_phrase() const { return parsed_.reason; }

  std::string_view call_id() const { return parsed_.call_id; }
  std::uint32_t cseq() const { return parsed_.cseq; }
  std::string_view body() const { return parsed_.body; }
  // Content-Length promised more than was captured: the body is not to be believed.
  bool body_truncated() const { return parsed_.body_truncated; }
  // What follows the message in the bytes that it was read from; mostly nothing.
  std::string_view rest() const { return parsed_.bytes.substr(parsed_.size); }
  // Bytes of this message, without what follows it.
  std::size_t size() const { return parsed_.size; }
  std::string_view bytes() const { return {parsed_.bytes.data(), parsed_.size}; }

  bool Has(HeaderId id) const { return FirstRow(id) != 0; }
  // The first row's value, trimmed, folding still in it; empty when there is none.
  std::string_view Get(HeaderId id) const {
    const std::size_t at = FirstRow(id);
    return at == 0 ? std::string_view() : RowValue(parsed_.table.rows[at]);
  }

  // Calls fn(value) for each row of that field, in order.
  template <typename Fn>
  void ForEach(HeaderId id, Fn&& fn) const {
    for (std::size_t at = FirstRow(id); at != 0; at = parsed_.table.next[at]) {
      fn(RowValue(parsed_.table.rows[at]));
    }
  }

  // For the reader of fields.
  const kernel::ParsedMessage& parsed() const { return parsed_; }

 private:
  friend struct kernel::Kernel;  // one of several that parse; not for hosts

  std::size_t FirstRow(HeaderId id) const { return parsed_.table.First(id); }
  std::string_view RowValue(const kernel::HeaderRow& row) const {
    const char* begin = parsed_.bytes.data() + row.begin;
    const char* end = parsed_.bytes.data() + row.end;
    while (begin != end && kernel::IsHeaderSpace(*begin)) ++begin;
    while (begin != end && kernel::IsHeaderSpace(end[-1])) --end;
    return {begin, static_cast<std::size_t>(end - begin)};
  }

  kernel::ParsedMessage parsed_;
};

}  // namespace sipheal::inline v0_1::sip
