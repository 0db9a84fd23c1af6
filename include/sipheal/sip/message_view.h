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

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "sipheal/export.h"
#include "sipheal/sip/header_id.h"
#include "sipheal/sip/method.h"

namespace sipheal::inline v0_1::sip {

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
  kNoEndOfHeaders,      // cut before the empty line and headers_may_be_cut is off
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

class SIPHEAL_EXPORT MessageView {
 public:
  // Of the fields in HeaderId; 70 each of Via, Route and Record-Route fit (rule 10.14).
  static constexpr int kMaxIndexedHeaders = 256;

  MessageView() = default;

  // Reads `bytes`, a whole message. What follows the body by Content-Length is ignored.
  ParseResult Parse(std::string_view bytes, const ParseLimits& limits = {});
  // A view into a temporary would dangle.
  ParseResult Parse(std::string&& bytes, const ParseLimits& limits = {}) = delete;

  bool is_request() const { return status_ == 0; }
  // Of a response: the CSeq's method.
  Method method() const { return method_; }
  std::string_view method_text() const { return method_text_; }
  std::string_view request_uri() const { return request_uri_; }
  int status() const { return status_; }  // 0 for a request
  std::string_view reason_phrase() const { return reason_; }

  std::string_view call_id() const { return call_id_; }
  std::uint32_t cseq() const { return cseq_; }
  std::string_view body() const { return body_; }
  // Content-Length promised more than was captured: the body is not to be believed.
  bool body_truncated() const { return body_truncated_; }
  // Bytes of this message, without what follows it.
  std::size_t size() const { return size_; }
  std::string_view bytes() const { return bytes_.substr(0, size_); }

  bool Has(HeaderId id) const { return first_[static_cast<std::size_t>(id)] != 0; }
  // The first row's value, trimmed, folding still in it; empty when there is none.
  std::string_view Get(HeaderId id) const;

  // Calls fn(value) for each row of that field, in order.
  template <typename Fn>
  void ForEach(HeaderId id, Fn&& fn) const {
    for (int at = first_[static_cast<std::size_t>(id)]; at != 0; at = rows_[at - 1].next) {
      fn(RowValue(rows_[at - 1]));
    }
  }

 private:
  struct Row {
    std::uint32_t offset;
    std::uint32_t size;
    std::uint16_t next;  // index + 1 of the next row of the same field; 0: none
  };

  std::string_view RowValue(const Row& row) const { return bytes_.substr(row.offset, row.size); }
  ParseResult ParseStartLine(std::string_view line);
  ParseResult AddRow(HeaderId id, std::size_t begin, std::size_t end);
  ParseResult Finish(std::size_t body_begin);
  ParseResult ParseCseq();
  ParseResult ParseBody(std::size_t body_begin);

  std::string_view bytes_;
  std::string_view method_text_;
  std::string_view request_uri_;
  std::string_view reason_;
  std::string_view call_id_;
  std::string_view body_;
  std::size_t size_ = 0;
  std::uint32_t cseq_ = 0;
  int status_ = 0;
  int row_count_ = 0;
  Method method_ = Method::kOther;
  bool body_truncated_ = false;
  std::array<std::uint16_t, kHeaderIdCount> first_{};
  std::array<std::uint16_t, kHeaderIdCount> last_{};
  std::array<Row, kMaxIndexedHeaders> rows_;  // not cleared: only row_count_ of them are read
};

}  // namespace sipheal::inline v0_1::sip
