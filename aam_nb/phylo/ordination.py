"""Principal coordinates of a distance matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from skbio import DistanceMatrix, OrdinationResults


def pcoa(distances: DistanceMatrix, *, num_axes: int = 10) -> OrdinationResults:
    """Principal coordinates analysis (scikit-bio's exact method).

    Parameters
    ----------
    distances
        Distances between samples.
    num_axes
        Axes kept, at most the number of samples.

    Returns
    -------
    Coordinates (`samples`, n_samples x num_axes) and the share of variation that each axis explains (`proportion_explained`,
    0 to 1).

    References
    ----------
    Gower 1966, Biometrika 53:325.
    """
    import warnings

    from skbio.stats.ordination import pcoa as skbio_pcoa

    with warnings.catch_warnings():
        # UniFrac is not Euclidean, so small negative eigenvalues are expected; scikit-bio sets them to zero and says so.
        warnings.filterwarnings("ignore", message=".*negative eigenvalues.*", category=RuntimeWarning)
        result = skbio_pcoa(distances, method="eigh", dimensions=len(distances.ids))
    # All axes are computed and the rest dropped here: given fewer, scikit-bio divides by a total that negative eigenvalues
    # have lowered, and the shares add up to more than 1.
    result.samples = result.samples.iloc[:, :num_axes]
    result.eigvals = result.eigvals.iloc[:num_axes]
    result.proportion_explained = result.proportion_explained.iloc[:num_axes]
    return result
