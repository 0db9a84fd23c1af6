// SPDX-License-Identifier: Apache-2.0
// The evidence of a dialog and what is missing, while it is derived: by field, so that a later word
// replaces an earlier one and nothing has to be searched, sorted or allocated.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <vector>

#include "sipheal/sip/dialog_state.h"

namespace sipheal::inline v0_1::sip {

class FieldSet {
 public:
  void Add(Field field) { bits_ |= Bit(field); }
  void Remove(Field field) { bits_ &= ~Bit(field); }
  bool Has(Field field) const { return (bits_ & Bit(field)) != 0; }
  std::size_t size() const { return static_cast<std::size_t>(std::popcount(bits_)); }
  // In the order of the fields.
  template <typename Fn>
  void ForEach(Fn&& fn) const {
    for (std::uint32_t rest = bits_; rest != 0; rest &= rest - 1) {
      fn(static_cast<Field>(std::countr_zero(rest)));
    }
  }

 private:
  static_assert(kFieldCount <= 32);
  static std::uint32_t Bit(Field field) { return std::uint32_t{1} << static_cast<unsigned>(field); }

  std::uint32_t bits_ = 0;
};

class Proofs {
 public:
  struct Proof {
    MessageRef message;
    EvidenceReason reason;
  };

  void Set(Field field, const MessageRef& message, EvidenceReason reason) {
    set_.Add(field);
    proofs_[static_cast<std::size_t>(field)] = {message, reason};
  }
  void Remove(Field field) { set_.Remove(field); }
  // nullptr: none.
  const Proof* Find(Field field) const {
    return set_.Has(field) ? &proofs_[static_cast<std::size_t>(field)] : nullptr;
  }
  void Clear() { set_ = {}; }
  // Writes over what is there.
  void WriteTo(std::vector<Evidence>* evidence) const {
    evidence->resize(set_.size());
    auto at = evidence->begin();
    set_.ForEach([&](Field field) {
      const Proof& proof = proofs_[static_cast<std::size_t>(field)];
      at->field = field;
      at->message = proof.message;
      at->reason = proof.reason;
      at->named.clear();
      ++at;
    });
  }

 private:
  FieldSet set_;
  std::array<Proof, kFieldCount> proofs_{};
};

}  // namespace sipheal::inline v0_1::sip
