// SPDX-License-Identifier: Apache-2.0
// Certificates of one test, made by the program openssl.
#pragma once

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

#include "sipheal/adapters/grpc.h"
#include "tests/grpc/scratch_folder.h"

namespace sipheal::tests {

class Certificates {
 public:
  // An authority of this name. False when openssl is not there.
  bool MakeAuthority(const std::string& name) {
    return Run("req -x509 " + std::string(kKey) + " -days 2 -subj /CN=" + name + " -keyout " +
               name + ".key -out " + name + ".pem");
  }
  // For localhost and 127.0.0.1.
  bool Make(const std::string& name, const std::string& authority) {
    return Run("req " + std::string(kKey) + " -subj /CN=" + name +
               " -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout " + name + ".key -out " +
               name + ".csr") &&
           Run("x509 -req -in " + name + ".csr -CA " + authority + ".pem -CAkey " + authority +
               ".key -CAcreateserial -days 2 -copy_extensions copy -out " + name + ".pem");
  }

  GrpcTlsFiles Files(const std::string& authority, const std::string& name = "") const {
    GrpcTlsFiles files;
    files.ca_file = folder_.File(authority + ".pem");
    if (!name.empty()) {
      files.certificate_file = folder_.File(name + ".pem");
      files.key_file = folder_.File(name + ".key");
    }
    return files;
  }
  std::string Read(const std::string& file) const {
    std::ifstream in(folder_.File(file));
    return std::string(std::istreambuf_iterator<char>(in), {});
  }

 private:
  static constexpr char kKey[] = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";

  bool Run(const std::string& arguments) const {
    const std::string command =
        "cd " + folder_.path() + " && openssl " + arguments + " >openssl.log 2>&1";
    return std::system(command.c_str()) == 0;
  }

  const ScratchFolder folder_;
};

}  // namespace sipheal::tests
