/* Decodes all tensors of a file into the memory of a CUDA device, and compares them with what the CPU
 * decodes. Build with a library that has the feature `cuda`:
 *
 *   cargo build --release -p unweight-c --features cuda
 *   cc -std=c99 -DUNWEIGHT_CUDA -I bindings/c/include bindings/c/examples/load_cuda.c \
 *     target/release/libunweight_c.a -lpthread -ldl -lm -o target/load_cuda
 *
 * The few functions of the driver are loaded at run time, so that no CUDA is needed to build. A program
 * with the CUDA runtime calls cudaMalloc instead. */
#define _POSIX_C_SOURCE 200809L
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unweight.h"

typedef struct {
  int (*init)(unsigned flags);
  int (*retain)(void **context, int device);
  int (*set_current)(void *context);
  int (*alloc)(uint64_t *address, size_t bytes);
  int (*copy_to_host)(void *to, uint64_t from, size_t bytes);
  int (*make_stream)(void **stream, unsigned flags);
} driver;

static int load_symbol(void *library, const char *name, void *place) {
  void *symbol = dlsym(library, name);
  /* ISO C has no cast from a data pointer to a function pointer. */
  memcpy(place, &symbol, sizeof symbol);
  return symbol != NULL;
}

static int load_driver(driver *cuda) {
  void *library = dlopen("libcuda.so.1", RTLD_NOW);
  return library != NULL && load_symbol(library, "cuInit", &cuda->init) &&
         load_symbol(library, "cuDevicePrimaryCtxRetain", &cuda->retain) &&
         load_symbol(library, "cuCtxSetCurrent", &cuda->set_current) &&
         load_symbol(library, "cuMemAlloc_v2", &cuda->alloc) &&
         load_symbol(library, "cuMemcpyDtoH_v2", &cuda->copy_to_host) &&
         load_symbol(library, "cuStreamCreate", &cuda->make_stream);
}

static int fail(const char *message) {
  fprintf(stderr, "%s\n", message);
  return 1;
}

/* Compares the tensors in device memory with those that the CPU decodes. */
static int compare(const driver *cuda, const unweight_model *model, const unweight_cuda_tensor *tensors,
                   uint32_t count) {
  unweight_error error;
  for (uint32_t i = 0; i < count; i++) {
    size_t bytes = (size_t)tensors[i].bytes;
    unsigned char *expected = malloc(bytes + 1), *found = malloc(bytes + 1);
    if (expected == NULL || found == NULL) return fail("no memory");
    if (unweight_read_tensor(model, i, expected, bytes, &error) != UNWEIGHT_STATUS_OK)
      return fail(error.message);
    if (bytes > 0 && cuda->copy_to_host(found, tensors[i].address, bytes) != 0)
      return fail("the copy from the device failed");
    if (memcmp(expected, found, bytes) != 0) return fail("a tensor differs from that of the CPU");
    free(expected);
    free(found);
  }
  return 0;
}

int main(int count_of_arguments, char **arguments) {
  if (count_of_arguments != 2) return fail("usage: load_cuda MODEL.unw");
  unweight_error error;
  unweight_model *model;
  if (unweight_open_path(arguments[1], NULL, &model, &error) != UNWEIGHT_STATUS_OK)
    return fail(error.message);
  unweight_cuda_loader *loader;
  unweight_status status = unweight_cuda_open(0, &loader, &error);
  if (status == UNWEIGHT_STATUS_NO_DEVICE) {
    printf("skipped: %s\n", error.message);
    unweight_close(model);
    return 0;
  }
  if (status != UNWEIGHT_STATUS_OK) return fail(error.message);

  driver cuda;
  void *context, *stream;
  if (!load_driver(&cuda) || cuda.init(0) != 0 || cuda.retain(&context, 0) != 0 ||
      cuda.set_current(context) != 0 || cuda.make_stream(&stream, 0) != 0)
    return fail("the CUDA driver failed");

  uint32_t count = unweight_tensor_count(model);
  unweight_cuda_tensor *tensors = calloc(count + 1, sizeof *tensors);
  if (tensors == NULL) return fail("no memory");
  for (uint32_t i = 0; i < count; i++) {
    unweight_tensor_info info = {.struct_size = sizeof info};
    if (unweight_get_tensor(model, i, &info, &error) != UNWEIGHT_STATUS_OK) return fail(error.message);
    tensors[i].number = i;
    tensors[i].bytes = info.data_bytes;
    if (info.data_bytes > 0 && cuda.alloc(&tensors[i].address, info.data_bytes) != 0)
      return fail("no memory on the device");
  }
  if (unweight_cuda_load(loader, model, tensors, count, stream, &error) != UNWEIGHT_STATUS_OK)
    return fail(error.message);
  if (compare(&cuda, model, tensors, count) != 0) return 1;
  printf("%u tensors on the device are those of the CPU\n", (unsigned)count);
  free(tensors);
  unweight_cuda_close(loader);
  unweight_close(model);
  return 0;
}
