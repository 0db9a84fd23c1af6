# The core: L0 base, L1 sip, L2 model and interfaces, L3 engine, and the in-memory implementations. Abseil only.
# Each layer lists its files in its own folder, so that a layer is read where it lives.
set(SIPHEAL_CORE_SOURCES "")
set(SIPHEAL_CORE_HEADERS "")
foreach(layer base sip model engine memory)
  if(EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${layer}/files.cmake)
    include(${layer}/files.cmake)
  endif()
endforeach()

sipheal_component(core
  SOURCES ${SIPHEAL_CORE_SOURCES}
  HEADERS ${SIPHEAL_CORE_HEADERS}
  PUBLIC absl::status absl::statusor absl::strings Threads::Threads
  PRIVATE absl::str_format absl::flat_hash_map absl::flat_hash_set absl::hash absl::core_headers)
