"""Package metadata: what hybridseg is called, what it needs, and the command that it installs."""

import re
from pathlib import Path

from pybind11.setup_helpers import Pybind11Extension, build_ext
from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "([^"]+)"', (HERE / "hybridseg/__init__.py").read_text())[1]

# Lower and upper bounds that were tried: docs/decisions/002-dependencies.md says how.
REQUIREMENTS = [
    "tensorflow>=2.21,<2.22",
    "tf-keras>=2.21,<2.22",
    "tensorflow-hub>=0.16.1,<0.17",
    "tensorboard>=2.20,<2.22",
    "ai-edge-litert>=2.3,<2.4",
    "h5py>=3.11,<4",
    # tensorflow-hub 0.16 imports pkg_resources, which setuptools 82 no longer has.
    "setuptools>=77.0.3,<82",
    "numpy>=2.0,<2.6",
    "scipy>=1.14,<1.19",
    "scikit-learn>=1.6,<1.10",
    "threadpoolctl>=3.1,<4",
    "imageio>=2.36,<2.39",
    "pillow>=11.0,<14",
    "rasterio>=1.4,<1.6",
    "lmdb>=1.6.2,<3.1",
    "matplotlib>=3.9,<3.12",
    "click>=8.4,<8.6",
    "flask>=3.1,<3.3",
    "waitress>=3.0.2,<4",
    "tqdm>=4.66,<5",
]
# The PyPI name that builds today; the module is `pydensecrf`. Source only: it needs a C++ compiler, and the C++ in it
# does not compile against Python 3.13.
PYDENSECRF = ["pydensecrf2>=1.1,<1.2; python_version < '3.13'"]
# A cluster of several machines, and the page that shows what it does.
DASK = ["distributed>=2026.1,<2027", "bokeh>=3.6,<4"]
# Networks of Segment Anything on the labelling page: what runs them, and what looks at their files before.
SAM = ["onnxruntime>=1.20.1,<1.33", "onnx>=1.17,<1.24"]
TEST = [
    "pytest>=8.3,<10",
    "pytest-xdist>=3.8,<4",
    "hypothesis>=6.120,<7",
    "playwright>=1.50,<2",
    "pycocotools>=2.0.10,<2.1",
    "nbclient>=0.10,<0.12",
    "nbformat>=5.10,<6",
    "ipykernel>=6.29,<8",
    "nbconvert>=7.17,<8",
    "pystac-core>=1.15.2,<1.16",
    "jsonschema>=4.18,<5",
]
# Damage that coverage guides (make fuzz ATHERIS=1): its wheels are for this platform alone.
FUZZ = ["atheris>=3.0,<3.1; platform_machine == 'x86_64' and sys_platform == 'linux'"]
LINT = ["ruff>=0.17,<0.18", "mypy>=2.3,<3", "bandit>=1.9,<1.10"]

# The inner loops of the dense CRF. There is no -march flag: the kernel is compiled for several instruction sets and
# takes the best that the processor has when it runs. Where it cannot be built, all else is installed (`optional`).
KERNEL_DIR = Path("hybridseg/crf/kernel")
KERNEL = Pybind11Extension(
    "hybridseg.crf._kernel",
    [str(KERNEL_DIR / name) for name in ("bindings.cpp", "refine.cpp", "meanfield.cpp", "lattice.cpp", "passes.cpp")],
    depends=[str(path) for path in KERNEL_DIR.glob("*.h")],
    cxx_std=17,
    extra_compile_args=["-O3", "-fopenmp", "-Wno-psabi"],
    extra_link_args=["-fopenmp"],
    optional=True,
)

setup(
    name="hybridseg",
    version=VERSION,
    description="Land cover for every pixel of coastal and river photographs",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    license_files=["LICENSE", "NOTICE"],
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=["hybridseg", "hybridseg.*"]),
    package_data={"hybridseg": ["py.typed", "models/*.npz", "dense/policies/*.toml", "crf/*.pyi", "web/static/*"]},
    ext_modules=[KERNEL],
    cmdclass={"build_ext": build_ext},
    install_requires=REQUIREMENTS,
    extras_require={
        "pydensecrf": PYDENSECRF,
        "dask": DASK,
        "sam": SAM,
        "test": TEST + DASK + SAM,
        "lint": LINT,
        "fuzz": FUZZ,
    },
    entry_points={"console_scripts": ["hybridseg = hybridseg.__main__:start"]},
    keywords="segmentation coastal remote-sensing crf tensorflow land-cover",
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Environment :: Console",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Image Processing",
    ],
)
